// maru pack: a model made ready for one device, as one file that is mapped when it is loaded.
#include <maru/pack.h>

#include <filesystem>

#include "apps/cli/model_flags.h"
#include "apps/cli/packed.h"
#include "apps/cli/verb.h"

namespace maru::cli {
namespace {

class Pack final : public Verb {
 public:
  std::unique_ptr<CommandLine> declare() override {
    auto line = std::make_unique<CommandLine>(
        "pack",
        "Writes a model as one file: the network, folded and fused; its card and labels; the weights "
        "in\n"
        "the form that the device's kernels want. Every verb takes it where it takes a model. Loading\n"
        "maps it: nothing is rewritten or reordered, and where memory is shared the device reads the\n"
        "file's own pages, which several processes share. It is for the device, processor and options\n"
        "that it was packed with; elsewhere loading says so.",
        std::initializer_list<std::string_view>{
            "pack models/googlenet-tiny -o googlenet.maru",
            "pack deploy.prototxt --weights net.caffemodel --labels names.txt -o net.maru --batch 4"});
    flags_.add_model_positional(*line);
    line->text("-o,--output", "FILE", "The file to write, by custom called *.maru. Required.", file_,
               Need::required);
    flags_.add_weights(*line);
    flags_.add_labels(*line);
    flags_.add_execution(*line);
    flags_.add_batch(*line);
    line->integer("--runs",
                  "Runs in which a longer preparation must pay off. Weights are packed only once, so\n"
                  "that it nearly always does. Default: 1000000.",
                  runs_, 1, 1000000000);
    flags_.add_optimize(*line);
    line->texts("--keep", "NAME",
                "An inner value to be readable later, which rewriting must keep; may be given\n"
                "several times.",
                flags_.options.outputs, false);
    line->flag("--force", "Replace FILE where there is one.", force_);
    line->flag(
        "--json",
        "Print {\"file\", \"bytes\", \"maru\", \"device\", \"description\", \"batch\",\n"
        "\"threads\", \"optimized\", \"sections\": [{\"name\", \"offset\", \"bytes\", \"crc32\"}]}.",
        json_);
    return line;
  }

  int run(Output& out) override {
    PackOptions options{flags_.to_options(), force_};
    options.model.expected_runs = static_cast<double>(runs_);
    constexpr std::size_t kStep = 1 << 20;  // the bar counts megabytes
    std::optional<Progress> bar;
    options.progress = [&](std::uint64_t done, std::uint64_t total) {
      if (!bar) bar.emplace(static_cast<std::size_t>(total / kStep));
      bar->show(static_cast<std::size_t>(done / kStep));
    };
    const PackedInfo info = pack_model(flags_.model, file_, options);
    bar.reset();
    if (json_) {
      print_json(out, to_json(info));
    } else {
      out.write(text_of(info));
    }
    return 0;
  }

 private:
  ModelFlags flags_;
  std::string file_;
  std::int64_t runs_ = 1000000;
  bool force_ = false, json_ = false;
};

}  // namespace

std::unique_ptr<Verb> make_pack() { return std::make_unique<Pack>(); }

}  // namespace maru::cli
