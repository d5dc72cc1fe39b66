#include "train/trainer.h"

#include <algorithm>
#include <cmath>
#include <optional>
#include <thread>

#include "base/error.h"
#include "ops/all_reduce.h"
#include "rewrite/rewrite.h"
#include "train/agreement.h"

namespace maru {

namespace {

PlanOptions plan_options(const TrainerOptions& options, const std::vector<std::string>& copied) {
  PlanOptions plan;
  plan.policy = options.policy;
  plan.precision = options.precision;
  plan.speeds = options.speeds;
  plan.expected_runs = 1e5;
  plan.compile_threads = std::max(1, static_cast<int>(std::thread::hardware_concurrency()));
  if (options.policy != MemoryPolicy::zero_copy) {
    for (const std::string& name : copied) plan.heaps[name] = PlanOptions::kApart;
  }
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

// What a convolution or product does to its sums as well is not written and read once more.
void fuse(Graph& network) {
  RewriteLog log;
  fuse_activations(network, log);
}

// Each rank's gradients are its own: where they are not finite is looked for by one alone.
Graph without_ranks(Graph graph) {
  for (std::size_t n = 0; n < graph.nodes().size(); ++n) {
    Node& node = graph.node(NodeId(static_cast<std::uint32_t>(n)));
    if (is_shared(node.op)) node.op = AllReduce{};
  }
  return graph;
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
  const int ranks = options.communicator ? options.communicator->ranks() : 1;
  training.ranks = ranks;
  training.rank = options.communicator ? options.communicator->rank() : 0;
  training.scaled = is_scaled();
  const std::string as_given = ranks > 1 ? network.print() : "";
  fuse(network);
  Trained trained = build_gradients(network, training);
  parameters_ = std::move(trained.parameters);
  statistics_ = std::move(trained.statistics);
  recomputed_ = trained.recomputed;
  // Of constants, those that are trained are rank 0's in the end, and no constants any more.
  if (ranks > 1)
    require_same(*options.communicator, "network and options",
                 as_given + described() + checksums(network),
                 "starting all ranks with the same files and options");
  if (is_scaled()) {
    to_half_precision(network, *devices_[0], notes_);
  } else {
    scale_.scale = 1;
  }
  graph_ = std::move(network);
  gradients_ =
      std::make_unique<PlannedRun>(graph_, devices_, plan_options(options_, options_.copied), states_);
  update_ = std::make_unique<PlannedRun>(
      build_update(parameters_, options.solver, training.accumulate, training.accumulate ? ranks : 1),
      devices_, plan_options(options_, {}), states_);
  for (const Parameter& parameter : parameters_)
    states_.write(parameter.name, parameter.initial->floats());
  for (const Statistic& statistic : statistics_)
    states_.write(statistic.name, statistic.initial->floats());
  share();
}

Trainer::~Trainer() = default;

std::string Trainer::described() const {
  std::string text = fmt::format("  solver {}, {} passes, clip {}, decay {} {}, in {}, seed {}\n",
                                 Op(options_.solver).key(), options_.passes, options_.clip_gradients,
                                 options_.l2_decay, options_.l1_decay, to_string(options_.precision),
                                 options_.training.seed);
  for (const Parameter& parameter : parameters_)
    text += fmt::format("  parameter {}: {}, rate {}, decay {}\n", parameter.name,
                        parameter.shape.str(), parameter.rate_mult, parameter.decay_mult);
  return text;
}

void Trainer::share() {
  if (!options_.communicator) return;
  share_states(*options_.communicator, states_, states_.names());
  options_.communicator->share(std::as_writable_bytes(std::span(&updates_, 1)));
  options_.communicator->share(std::as_writable_bytes(std::span(&scale_, 1)));
}

void Trainer::share_statistics() {
  if (!options_.communicator) return;
  std::vector<std::string> names;
  for (const Statistic& statistic : statistics_) names.push_back(statistic.name);
  share_states(*options_.communicator, states_, names);
}

void Trainer::require_same_states() const {
  if (!options_.communicator) return;
  std::vector<std::string> names;
  for (const Parameter& parameter : parameters_) {
    names.push_back(parameter.name);
    for (std::size_t i = 0; i < options_.solver.states(); ++i) names.push_back(parameter.memory(i));
  }
  require_same(*options_.communicator, "parameters", checksums(states_, names),
               "devices of one kind for all ranks, and going on from a snapshot");
}

std::unique_ptr<PlannedRun> Trainer::evaluation(Graph network, const std::vector<std::string>& copied) {
  read_states(network, [this](const std::string& name) -> std::optional<Shape> {
    if (!states_.has(name)) return std::nullopt;
    return states_.shape_of(name);
  });
  fuse(network);
  std::vector<std::string> notes;
  if (is_scaled()) to_half_precision(network, *devices_[0], notes);
  return std::make_unique<PlannedRun>(network, devices_, plan_options(options_, copied), states_);
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

// On all ranks: each has losses of its own, and all go on or none.
bool Trainer::are_losses_finite() {
  const bool are_here = std::ranges::all_of(options_.training.losses, [&](const WeightedLoss& loss) {
    const auto& outputs = gradients_->plan().outputs;
    return std::ranges::find(outputs, loss.value, &Port::name) == outputs.end() ||
           are_finite(output(loss.value));
  });
  double others = are_here ? 0 : 1;
  if (options_.communicator) options_.communicator->sum(std::span(&others, 1));
  return others == 0;
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
  PlannedRun again(sums_of_results(without_ranks(graph_), watched), devices_,
                   plan_options(options_, options_.copied), states_);
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
