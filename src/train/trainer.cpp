#include "train/trainer.h"

#include <algorithm>
#include <cmath>
#include <map>
#include <optional>

#include "base/error.h"

namespace maru {

// A plan with its memory, and what the caller looks at.
struct Trainer::Part {
  Part(const Graph& graph, std::span<const Device* const> devices, const TrainerOptions& options,
       StateMemory& states)
      : planned(make_plan(graph, devices, plan_options(options))),
        weights(pack_weights(planned, devices)) {
    states.add(planned.plan);
    executor = std::make_unique<Executor>(planned.plan, devices, weights, false, &states);
  }

  static PlanOptions plan_options(const TrainerOptions& options) {
    PlanOptions plan;
    plan.policy = options.policy;
    plan.expected_runs = 1e5;
    return plan;
  }

  void run() {
    views.clear();
    executor->run();
  }

  Planned planned;
  Weights weights;
  std::unique_ptr<Executor> executor;
  std::map<std::size_t, HostView> views;  // per region; end before the executor
};

Trainer::Trainer(Graph network, std::span<const Device* const> devices, const TrainerOptions& options)
    : options_(options), devices_(devices.begin(), devices.end()), states_(*devices[0]) {
  if (options.passes < 1)
    throw Error("training", "one pass an update, or more", fmt::format("{}", options.passes),
                "iter_size");
  TrainingOptions training = options.training;
  training.accumulate = options.passes > 1;
  parameters_ = build_gradients(network, training, &statistics_);
  gradients_ = std::make_unique<Part>(network, devices_, options_, states_);
  update_ = std::make_unique<Part>(build_update(parameters_, options.solver, training.accumulate),
                                   devices_, options_, states_);
  for (const Parameter& parameter : parameters_)
    states_.write(parameter.name, parameter.initial->floats());
  for (const Statistic& statistic : statistics_)
    states_.write(statistic.name, statistic.initial->floats());
}

Trainer::~Trainer() = default;

std::span<float> Trainer::look(Part& part, const std::vector<Port>& ports, std::string_view name,
                               Access access) {
  const auto port = std::ranges::find(ports, name, &Port::name);
  if (port == ports.end()) {
    std::string known;
    for (const Port& one : ports) known += (known.empty() ? "" : ", ") + one.name;
    throw Error("training", "one of " + known, fmt::format("\"{}\"", name));
  }
  auto view = part.views.find(port->region);
  if (view == part.views.end()) {
    HostView look =
        part.executor->region(port->region).map(access, 0, port->desc.bytes(), &part.executor->queue());
    view = part.views.emplace(port->region, std::move(look)).first;
  }
  return view->second.as<float>();
}

std::span<float> Trainer::input(std::string_view name) {
  return look(*gradients_, gradients_->planned.plan.inputs, name, Access::write);
}

std::span<const float> Trainer::output(std::string_view name) {
  return look(*gradients_, gradients_->planned.plan.outputs, name, Access::read);
}

void Trainer::pass() {
  for (const Port& port : gradients_->planned.plan.inputs) {
    // Whole numbers below 2^24 are exact; after that many passes dropouts repeat.
    constexpr std::int64_t kMost = std::int64_t{1} << 24;
    if (port.name == "step")
      input("step")[0] = static_cast<float>((updates_ * options_.passes + passes_) % kMost);
  }
  gradients_->run();
  ++passes_;
}

double Trainer::update(double rate) {
  MARU_ASSERT(passes_ == options_.passes);
  passes_ = 0;
  const std::span<float> controls =
      look(*update_, update_->planned.plan.inputs, "controls", Access::write);
  std::array<double, Update::kControls> values{};
  values[Update::kRate] = rate;
  values[Update::kL2] = options_.l2_decay;
  values[Update::kL1] = options_.l1_decay;
  values[Update::kFactor] = 1 / static_cast<double>(options_.passes);
  values[Update::kClip] = options_.clip_gradients;
  values[Update::kTime] = static_cast<double>(updates_ + 1);
  std::ranges::transform(values, controls.begin(), [](double x) { return static_cast<float>(x); });
  update_->run();
  const double norm = look(*update_, update_->planned.plan.outputs, "gradient norm", Access::read)[0];
  if (std::isfinite(norm)) ++updates_;
  return norm;
}

std::size_t Trainer::arena_bytes() const {
  return gradients_->planned.plan.arena_bytes() + update_->planned.plan.arena_bytes();
}

const Plan& Trainer::plan() const { return gradients_->planned.plan; }

}  // namespace maru
