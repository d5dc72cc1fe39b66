#include "train/trainer.h"

#include <algorithm>
#include <cmath>
#include <optional>
#include <thread>

#include "base/error.h"

namespace maru {

namespace {

PlanOptions plan_options(const TrainerOptions& options) {
  PlanOptions plan;
  plan.policy = options.policy;
  plan.expected_runs = 1e5;
  plan.compile_threads = std::max(1, static_cast<int>(std::thread::hardware_concurrency()));
  return plan;
}

}  // namespace

Trainer::Trainer(Graph network, std::span<const Device* const> devices, const TrainerOptions& options)
    : options_(options), devices_(devices.begin(), devices.end()), states_(*devices[0]) {
  if (options.passes < 1)
    throw Error("training", "one pass an update, or more", fmt::format("{}", options.passes),
                "iter_size");
  TrainingOptions training = options.training;
  training.accumulate = options.passes > 1;
  parameters_ = build_gradients(network, training);
  gradients_ = std::make_unique<PlannedRun>(network, devices_, plan_options(options_), states_);
  update_ = std::make_unique<PlannedRun>(build_update(parameters_, options.solver, training.accumulate),
                                         devices_, plan_options(options_), states_);
  for (const Parameter& parameter : parameters_)
    states_.write(parameter.name, parameter.initial->floats());
}

Trainer::~Trainer() = default;

std::unique_ptr<PlannedRun> Trainer::evaluation(Graph network) {
  read_states(network, [this](const std::string& name) -> std::optional<Shape> {
    if (!states_.has(name)) return std::nullopt;
    return states_.shape_of(name);
  });
  return std::make_unique<PlannedRun>(network, devices_, plan_options(options_), states_);
}

void Trainer::pass() {
  for (const Port& port : gradients_->plan().inputs) {
    // Whole numbers below 2^24 are exact; after that many passes dropouts repeat.
    constexpr std::int64_t kMost = std::int64_t{1} << 24;
    if (port.name == "step")
      gradients_->input("step")[0] = static_cast<float>((updates_ * options_.passes + passes_) % kMost);
  }
  gradients_->run();
  ++passes_;
}

double Trainer::update(double rate) {
  MARU_ASSERT(passes_ == options_.passes);
  passes_ = 0;
  const std::span<float> controls = update_->input("controls");
  std::array<double, Update::kControls> values{};
  values[Update::kRate] = rate;
  values[Update::kL2] = options_.l2_decay;
  values[Update::kL1] = options_.l1_decay;
  values[Update::kFactor] = 1 / static_cast<double>(options_.passes);
  values[Update::kClip] = options_.clip_gradients;
  values[Update::kTime] = static_cast<double>(updates_ + 1);
  std::ranges::transform(values, controls.begin(), [](double x) { return static_cast<float>(x); });
  update_->run();
  const double norm = update_->output("gradient norm")[0];
  if (std::isfinite(norm)) ++updates_;
  return norm;
}

std::size_t Trainer::arena_bytes() const {
  return gradients_->plan().arena_bytes() + update_->plan().arena_bytes();
}

std::size_t Trainer::memory_bytes() const {
  return gradients_->memory_bytes() + update_->memory_bytes();
}

const Plan& Trainer::plan() const { return gradients_->plan(); }

}  // namespace maru
