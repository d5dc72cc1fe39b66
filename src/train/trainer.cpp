#include "train/trainer.h"

#include <algorithm>
#include <cmath>
#include <optional>
#include <thread>

#include "base/error.h"
#include "rewrite/rewrite.h"

namespace maru {

namespace {

PlanOptions plan_options(const TrainerOptions& options) {
  PlanOptions plan;
  plan.policy = options.policy;
  plan.precision = options.precision;
  plan.expected_runs = 1e5;
  plan.compile_threads = std::max(1, static_cast<int>(std::thread::hardware_concurrency()));
  return plan;
}

void to_half_precision(Graph& graph, const Device& device, std::vector<std::string>& notes) {
  if (!device.computes(Precision::fp16))
    throw Error("training", "a device that computes in fp16", std::string(device.name()),
                "--precision fp32, or another --device");
  RewriteLog log;
  use_half_precision(graph, log,
                     [&](const Op& op, Descs src, Descs dst, std::span<const bool> constant) {
                       return has_kernel(device, op, src, dst, constant);
                     });
  notes = std::move(log.lines);
}

bool are_finite(std::span<const float> values) {
  return std::ranges::all_of(values, [](float value) { return std::isfinite(value); });
}

}  // namespace

Trainer::Trainer(Graph network, std::span<const Device* const> devices, const TrainerOptions& options)
    : options_(options), devices_(devices.begin(), devices.end()), states_(*devices[0]) {
  if (options.passes < 1)
    throw Error("training", "one pass an update, or more", fmt::format("{}", options.passes),
                "iter_size");
  TrainingOptions training = options.training;
  training.accumulate = options.passes > 1;
  training.scaled = is_scaled();
  parameters_ = build_gradients(network, training, &statistics_);
  if (is_scaled()) {
    to_half_precision(network, *devices_[0], notes_);
  } else {
    scale_.scale = 1;
  }
  graph_ = std::move(network);
  gradients_ = std::make_unique<PlannedRun>(graph_, devices_, plan_options(options_), states_);
  update_ = std::make_unique<PlannedRun>(build_update(parameters_, options.solver, training.accumulate),
                                         devices_, plan_options(options_), states_);
  for (const Parameter& parameter : parameters_)
    states_.write(parameter.name, parameter.initial->floats());
  for (const Statistic& statistic : statistics_)
    states_.write(statistic.name, statistic.initial->floats());
}

Trainer::~Trainer() = default;

std::unique_ptr<PlannedRun> Trainer::evaluation(Graph network) {
  read_states(network, [this](const std::string& name) -> std::optional<Shape> {
    if (!states_.has(name)) return std::nullopt;
    return states_.shape_of(name);
  });
  std::vector<std::string> notes;
  if (is_scaled()) to_half_precision(network, *devices_[0], notes);
  return std::make_unique<PlannedRun>(network, devices_, plan_options(options_), states_);
}

void Trainer::pass() {
  for (const Port& port : gradients_->plan().inputs) {
    // Whole numbers below 2^24 are exact; after that many passes dropouts repeat.
    constexpr std::int64_t kMost = std::int64_t{1} << 24;
    if (port.name == "step")
      gradients_->input("step")[0] = static_cast<float>((updates_ * options_.passes + passes_) % kMost);
    if (port.name == "loss scale" && is_scaled())
      gradients_->input("loss scale")[0] = static_cast<float>(scale_.scale);
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
  // The gradients, and so their norm, are times the loss scale.
  values[Update::kFactor] = 1 / (static_cast<double>(options_.passes) * scale_.scale);
  values[Update::kClip] = options_.clip_gradients * scale_.scale;
  values[Update::kTime] = static_cast<double>(updates_ + 1);
  std::ranges::transform(values, controls.begin(), [](double x) { return static_cast<float>(x); });
  update_->run();
  const double norm = update_->output("gradient norm")[0] / scale_.scale;
  const bool is_finite = std::isfinite(norm);
  if (is_finite) ++updates_;
  was_overflow_ = !is_finite && is_scaled() && scale_.scale > LossScale::kLeast && are_losses_finite();
  if (is_scaled()) scale_.count(is_finite);
  return norm;
}

bool Trainer::are_losses_finite() {
  return std::ranges::all_of(options_.training.losses, [&](const WeightedLoss& loss) {
    const auto& outputs = gradients_->plan().outputs;
    return std::ranges::find(outputs, loss.value, &Port::name) == outputs.end() ||
           are_finite(output(loss.value));
  });
}

void Trainer::set_loss_scale(const LossScale& scale) {
  MARU_ASSERT(passes_ == 0);
  if (!is_scaled()) return;
  if (!(scale.scale >= LossScale::kLeast && scale.scale <= LossScale::kMost) || scale.good < 0)
    throw Error("loss scale", fmt::format("{} to {}", LossScale::kLeast, LossScale::kMost),
                fmt::format("{} after {} updates", scale.scale, scale.good), "another snapshot");
  scale_ = scale;
}

std::optional<FirstBad> Trainer::find_first_bad() {
  gradients_->settle();
  for (const Parameter& parameter : parameters_) {
    std::vector<float> values(static_cast<std::size_t>(parameter.shape.count()));
    states_.read(parameter.name, values);
    if (!are_finite(values)) return FirstBad{FirstBad::Kind::parameter, parameter.name};
  }
  for (const Port& port : gradients_->plan().inputs) {
    if (port.desc.dtype == DType::f32 && !are_finite(gradients_->settled_input(port).as<float>()))
      return FirstBad{FirstBad::Kind::input, port.name};
  }
  std::vector<FirstBad> watched;
  PlannedRun again(sums_of_results(graph_, watched), devices_, plan_options(options_), states_);
  again.copy_inputs(*gradients_);
  again.run();
  const std::vector<Port>& sums = again.plan().outputs;
  MARU_ASSERT(sums.size() == watched.size());
  for (std::size_t i = 0; i < sums.size(); ++i) {
    if (!are_finite(again.output(sums[i].name))) return watched[i];
  }
  return std::nullopt;
}

std::size_t Trainer::arena_bytes() const {
  return gradients_->plan().arena_bytes() + update_->plan().arena_bytes();
}

std::size_t Trainer::memory_bytes() const {
  return gradients_->memory_bytes() + update_->memory_bytes();
}

const Plan& Trainer::plan() const { return gradients_->plan(); }

}  // namespace maru
