// maru: the command-line program. Finds the verb, runs it, and turns what went wrong into an exit code.
#include <maru/model.h>

#include <algorithm>
#include <csignal>
#include <new>

#include "apps/cli/short_spin.h"
#include "apps/cli/verb.h"
#include "base/text.h"

namespace maru::cli {
namespace {

struct Entry {
  std::string_view name, summary;
  std::unique_ptr<Verb> (*make)();
  bool runs_networks = true;
};

constexpr Entry kVerbs[] = {
    {"classify", "say what photos show", make_classify},
    {"run", "run a network on raw tensors (.npy in, .npy out)", make_run},
    {"info", "list a network's layers, sizes and costs", make_info, false},
    {"plan", "show how a network would run here: kernels, memory, every copy", make_plan},
    {"pack", "make a model one file, ready for this device", make_pack},
    {"bench", "measure the ways to use memory against each other: time and energy", make_bench},
    {"profile", "show where the time of a run goes, step by step", make_profile},
    {"train", "train a network as a Caffe solver file says", make_train},
    {"test", "say how often a network is right, over a data set", make_test},
    {"mean", "compute the mean of a data set's photos", make_mean, false},
    {"plot-log", "draw the curves of a training run", make_plot_log, false},
    {"devices", "list what this machine can run networks on", make_devices},
};

std::string overview() {
  std::string text =
      "maru runs image networks on machines whose CPU and GPU share one memory, without copying.\n\n"
      "Usage: maru VERB [OPTIONS]\n\nVerbs:\n";
  for (const Entry& verb : kVerbs) text += fmt::format("  {:<10}{}\n", verb.name, verb.summary);
  return text +
         "\n  help      what a verb does and what its options mean: maru help classify\n"
         "  --version print the version\n\n"
         "Examples:\n"
         "  maru classify cat.jpg --model models/googlenet-tiny\n"
         "  maru plan models/googlenet-tiny\n\n"
         "Exit codes: 0 done, 1 something failed, 2 the command line is wrong.\n";
}

const Entry& find_verb(std::string_view name) {
  const auto entry = std::ranges::find(kVerbs, name, &Entry::name);
  if (entry != std::end(kVerbs)) return *entry;
  std::vector<std::string_view> names{"help"};
  for (const Entry& verb : kVerbs) names.push_back(verb.name);
  throw UsageError("maru", "a verb", fmt::format("\"{}\"", name),
                   fmt::format("{}; 'maru help' lists them all", closest_names(name, names)));
}

// `argv` as main() has it, `words` what is behind the program's name.
int dispatch(std::vector<std::string> words, char** argv, Output& out) {
  if (words.empty()) {
    complain(overview());
    return 2;
  }
  if (words[0] == "help") {
    words.erase(words.begin());
    words.resize(std::min<std::size_t>(words.size(), 1));
    words.emplace_back("--help");
  }
  if (words[0] == "--help" || words[0] == "-h") {
    out.write(overview());
    return 0;
  }
  if (words[0] == "--version" || words[0] == "-V") {
    out.print("maru {}\n", version());
    return 0;
  }
  const Entry& entry = find_verb(words[0]);
  const std::unique_ptr<Verb> verb = entry.make();
  const std::unique_ptr<CommandLine> line = verb->declare();
  if (line->parse(std::span(words).subspan(1))) {
    if (entry.runs_networks) spin_shortly(argv);
    return verb->run(out);
  }
  out.write(line->help());
  return 0;
}

int guarded(std::vector<std::string> words, char** argv) {
  int code = 0;  // also where the reader goes before it is known
  try {
    Output out;
    code = dispatch(std::move(words), argv, out);
    out.flush();
    return code;
  } catch (const ReaderGone&) {
    return code;
  } catch (const UsageError& e) {
    complain(e.what());
    return 2;
  } catch (const std::bad_alloc&) {
    complain(Error("memory", "enough of it", "none left", "a smaller --batch").what());
  } catch (const std::exception& e) {
    complain(e.what());
  }
  return 1;
}

}  // namespace
}  // namespace maru::cli

int main(int argc, char** argv) {
  std::signal(SIGPIPE, SIG_IGN);  // writing then fails with EPIPE, which is ReaderGone
  return maru::cli::guarded(std::vector<std::string>(argv + std::min(argc, 1), argv + argc), argv);
}
