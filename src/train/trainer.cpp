#include "train/trainer.h"

#include <algorithm>
#include <cmath>
#include <map>
#include <optional>

#include "base/error.h"
#include "rewrite/rewrite.h"

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
    plan.precision = options.precision;
    plan.expected_runs = 1e5;
    return plan;
  }

  void run() {
    views.clear();
    executor->run();
  }
  HostView look(const Port& port, Access access) const {
    return executor->region(port.region).map(access, 0, port.desc.bytes(), &executor->queue());
  }
  // What inputs of the same names hold there. Photos that are larger than planned have made room.
  void copy_inputs(const Part& from) {
    for (const Port& port : planned.plan.inputs) {
      const auto& inputs = from.planned.plan.inputs;
      const Buffer& source =
          from.executor->region(std::ranges::find(inputs, port.name, &Port::name)->region);
      const Buffer& own = executor->region(port.region);
      if (source.bytes() != own.bytes()) {
        const std::int64_t images = port.desc.shape[0];
        executor->rebind(port.region, own.heap().allocate(source.bytes(), port.name),
                         {images, static_cast<std::int64_t>(source.bytes()) / images});
      }
      const HostView read = source.map(Access::read, 0, source.bytes(), &from.executor->queue());
      std::ranges::copy(read.bytes(), executor->region(port.region)
                                          .map(Access::write, 0, source.bytes(), &executor->queue())
                                          .bytes()
                                          .begin());
    }
  }

  Planned planned;
  Weights weights;
  std::unique_ptr<Executor> executor;
  std::map<std::size_t, HostView> views;  // per region; end before the executor
};

namespace {

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
  gradients_ = std::make_unique<Part>(graph_, devices_, options_, states_);
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
    view = part.views.emplace(port->region, part.look(*port, access)).first;
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
    if (port.name == "loss scale" && is_scaled())
      input("loss scale")[0] = static_cast<float>(scale_.scale);
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
  // The gradients, and so their norm, are times the loss scale.
  values[Update::kFactor] = 1 / (static_cast<double>(options_.passes) * scale_.scale);
  values[Update::kClip] = options_.clip_gradients * scale_.scale;
  values[Update::kTime] = static_cast<double>(updates_ + 1);
  std::ranges::transform(values, controls.begin(), [](double x) { return static_cast<float>(x); });
  update_->run();
  const double norm =
      look(*update_, update_->planned.plan.outputs, "gradient norm", Access::read)[0] / scale_.scale;
  const bool is_finite = std::isfinite(norm);
  if (is_finite) ++updates_;
  was_overflow_ = !is_finite && is_scaled() && scale_.scale > LossScale::kLeast && are_losses_finite();
  if (is_scaled()) scale_.count(is_finite);
  return norm;
}

bool Trainer::are_losses_finite() {
  return std::ranges::all_of(options_.training.losses, [&](const WeightedLoss& loss) {
    const auto& outputs = gradients_->planned.plan.outputs;
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
  gradients_->views.clear();
  gradients_->executor->queue().finish();
  for (const Parameter& parameter : parameters_) {
    std::vector<float> values(static_cast<std::size_t>(parameter.shape.count()));
    states_.read(parameter.name, values);
    if (!are_finite(values)) return FirstBad{FirstBad::Kind::parameter, parameter.name};
  }
  for (const Port& port : gradients_->planned.plan.inputs) {
    if (port.desc.dtype == DType::f32 && !are_finite(gradients_->look(port, Access::read).as<float>()))
      return FirstBad{FirstBad::Kind::input, port.name};
  }
  std::vector<FirstBad> watched;
  Part part(sums_of_results(graph_, watched), devices_, options_, states_);
  part.copy_inputs(*gradients_);
  part.run();
  const std::vector<Port>& sums = part.planned.plan.outputs;
  MARU_ASSERT(sums.size() == watched.size());
  for (std::size_t i = 0; i < sums.size(); ++i) {
    if (!are_finite(part.look(sums[i], Access::read).as<float>())) return watched[i];
  }
  return std::nullopt;
}

std::size_t Trainer::arena_bytes() const {
  return gradients_->planned.plan.arena_bytes() + update_->planned.plan.arena_bytes();
}

const Plan& Trainer::plan() const { return gradients_->planned.plan; }

}  // namespace maru
