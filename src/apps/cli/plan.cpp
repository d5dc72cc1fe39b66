// maru plan: everything that was decided when the model was loaded.
#include "apps/cli/json.h"
#include "apps/cli/model_flags.h"
#include "apps/cli/verb.h"

namespace maru::cli {
namespace {

class Plan final : public Verb {
 public:
  std::unique_ptr<CommandLine> declare() override {
    auto line = std::make_unique<CommandLine>(
        "plan",
        "Shows how a network would run on this machine: every step in order with its kernel, each\n"
        "tensor's layout and place in memory, and every copy. A copy that is not in the plan does not\n"
        "happen. What is planned depends on how many runs it is for: 'maru classify' plans for the\n"
        "number of its photos, 'maru run' for one, so for these say --runs.",
        std::initializer_list<std::string_view>{
            "plan models/googlenet-tiny", "plan models/googlenet-tiny --memory copy --batch 4 --json",
            "plan models/googlenet-tiny --raw --device board:tk1 --policies"});
    flags_.add_model_positional(*line);
    flags_.add_weights(*line);
    flags_.add_execution(*line);
    flags_.add_batch(*line);
    line->flag("--raw", "Plan for raw input tensors, as 'maru run' does, instead of photos.", raw_);
    line->integer("--runs", "Runs in which a longer preparation must pay off. Default: 1000.", runs_, 1,
                  1000000000);
    flags_.add_optimize(*line);
    flags_.add_check(*line);
    line->texts("-o,--output", "NAME", "An inner value to be readable too; may be given several times.",
                flags_.options.outputs, false);
    line->flag("--policies",
               "On a virtual board: the modelled time of all three ways of --memory, by what\n"
               "it goes to, beside what was published for that board.",
               policies_);
    line->flag("--json", "Print the plan, or the comparison, as JSON.", json_);
    return line;
  }

  int run(Output& out) override {
    ModelOptions options = flags_.to_options();
    options.photos = !raw_;
    options.expected_runs = static_cast<double>(runs_);
    if (policies_) return compare(out, options);
    const Model model = load_model(flags_.model, options);
    std::string text = json_ ? model.plan_json() : model.plan_text();
    if (!text.ends_with('\n')) text += '\n';
    out.write(text);
    return 0;
  }

 private:
  struct Way {
    const char* name;
    MemoryPolicy memory;
  };
  static constexpr Way kWays[] = {{"copy", MemoryPolicy::copy},
                                  {"zero-copy", MemoryPolicy::zero_copy},
                                  {"auto", MemoryPolicy::automatic}};

  int compare(Output& out, ModelOptions options) const {
    Json all = Json::object();
    std::string name;
    for (const Way& way : kWays) {
      options.memory = way.memory;
      const Model model = Model::load(flags_.model, options);
      name = model.name();
      const Json plan = Json::parse(model.plan_json());
      if (!plan.contains("modelled")) {
        throw Error("--policies", "a virtual board, whose times are modelled",
                    fmt::format("\"{}\"", options.device),
                    "--device board:tk1; `maru devices --boards`");
      }
      all[way.name] = plan["modelled"];
      all[way.name]["crossing_bytes"] = plan["crossing_bytes"];
    }
    if (json_) {
      print_json(out, all);
      return 0;
    }
    out.print(
        "{} on {}, batch {}: modelled, not measured; ms of a run (best .. worst by what is not "
        "known)\n",
        name, options.device, options.batch);
    std::vector<std::vector<std::string>> rows{{""}};
    for (const Way& way : kWays) rows[0].push_back(way.name);
    const auto row = [&](const std::string& title, auto&& seconds) {
      rows.push_back({"  " + title});
      for (const Way& way : kWays) {
        const auto of = [&](const char* view) { return seconds(all[way.name][view]) * 1e3; };
        rows.back().push_back(
            fmt::format("{:.3f} ({:.3f} .. {:.3f})", of("expected"), of("best"), of("worst")));
      }
    };
    row("total", [](const Json& cost) { return cost["total_seconds"].template get<double>(); });
    for (const char* term :
         {"compute", "memory", "cpu", "uncached_reads", "copies", "waits", "maps", "launches"})
      row(term, [&](const Json& cost) { return cost["terms"][term].template get<double>(); });
    rows.push_back({"  bytes copied"});
    for (const Way& way : kWays) rows.back().push_back(all[way.name]["crossing_bytes"].dump());
    out.write(table("<>>>", rows));
    print_published(out, name, options.device, all);
    return 0;
  }

  static void print_published(Output& out, const std::string& network, const std::string& device,
                              const Json& all) {
    for (const BoardInfo& board : boards()) {
      if (board.name != device) continue;
      for (const BoardInfo::Published& one : board.published) {
        if (!all.contains(one.memory) || !network.starts_with("Goog")) continue;
        const double modelled = all[one.memory]["expected"]["total_seconds"];
        out.print("published, {}, {}: {:.0f} ms ({}); modelled for maru's plan: {:.0f} ms\n",
                  one.network, one.memory, one.seconds * 1e3, one.source, modelled * 1e3);
      }
      if (!board.published.empty() && network.starts_with("Goog")) {
        const auto ms = [&](const char* way, const char* term) {
          return all[way]["expected"]["terms"][term].get<double>() * 1e3;
        };
        const auto total = [&](const char* way) {
          return all[way]["expected"]["total_seconds"].get<double>() * 1e3;
        };
        out.print(
            "The published ways differ by 50 ms in favour of zero-copy; the model sees {:+.2f} ms from "
            "copy to\n"
            "zero-copy. It counts {:.2f} ms for copies, which zero-copy saves, {:+.2f} ms for memory "
            "that the\n"
            "device does not cache and {:.2f} ms for uncached reads of the CPU, which it pays. What "
            "the rest is\n"
            "the model cannot say: it knows maru's plan, with one kernel a layer and the input and the "
            "scores\n"
            "as the only tensors that cross, and not what the Caffe of 2016 launched, copied and "
            "waited for.\n",
            total("zero-copy") - total("copy"), ms("copy", "copies"),
            ms("zero-copy", "memory") - ms("copy", "memory"), ms("zero-copy", "uncached_reads"));
      }
    }
  }

  ModelFlags flags_;
  std::int64_t runs_ = 1000;
  bool raw_ = false, json_ = false, policies_ = false;
};

}  // namespace

std::unique_ptr<Verb> make_plan() { return std::make_unique<Plan>(); }

}  // namespace maru::cli
