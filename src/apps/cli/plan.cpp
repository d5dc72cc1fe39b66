// maru plan: everything that was decided when the model was loaded.
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
        "happen.",
        std::initializer_list<std::string_view>{
            "plan models/googlenet", "plan models/googlenet --memory copy --batch 4 --json"});
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
    line->flag("--json", "Print the plan as JSON.", json_);
    return line;
  }

  int run(Output& out) override {
    ModelOptions options = flags_.to_options();
    options.photos = !raw_;
    options.expected_runs = static_cast<double>(runs_);
    const Model model = Model::load(flags_.model, options);
    if (flags_.options.check) complain(model.proof());
    std::string text = json_ ? model.plan_json() : model.plan_text();
    if (!text.ends_with('\n')) text += '\n';
    out.write(text);
    return 0;
  }

 private:
  ModelFlags flags_;
  std::int64_t runs_ = 1000;
  bool raw_ = false, json_ = false;
};

}  // namespace

std::unique_ptr<Verb> make_plan() { return std::make_unique<Plan>(); }

}  // namespace maru::cli
