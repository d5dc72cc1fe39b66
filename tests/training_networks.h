// For tests of training: small networks, batches that can be learned, training by the operators'
// references in double precision, and which steps of a plan are not the device's. Everything is drawn
// from fixed seeds.
#pragma once

#include <algorithm>
#include <cmath>
#include <functional>
#include <map>
#include <memory>
#include <random>
#include <string>
#include <vector>

#include "device/registry.h"
#include "ops/bias.h"
#include "ops/concat.h"
#include "ops/conv.h"
#include "ops/eltwise.h"
#include "ops/identity.h"
#include "ops/inner_product.h"
#include "ops/interpret.h"
#include "ops/loss.h"
#include "ops/lrn.h"
#include "ops/pool.h"
#include "ops/prelu.h"
#include "ops/reshape.h"
#include "ops/scale.h"
#include "ops/slice.h"
#include "ops/unary.h"
#include "plan/planner.h"
#include "rewrite/training.h"
#include "train/trainer.h"

namespace maru::testing {

inline constexpr std::int64_t kBatch = 6, kClasses = 4;

class Network {
 public:
  explicit Network(unsigned seed = 1) : random_(seed) {}

  ValueId constant(const std::string& name, Shape shape, double deviation) {
    std::normal_distribution<double> draw(0, deviation);
    std::vector<float> values(static_cast<std::size_t>(shape.count()));
    std::ranges::generate(values, [&] { return static_cast<float>(draw(random_)); });
    return graph.add_constant(name, std::make_shared<const Constant>(shape, std::move(values)));
  }

  ValueId add(const std::string& name, Op op, std::vector<ValueId> src) {
    const std::vector<TensorDesc> descs = graph.descs(src);
    for (const Param& param : op.params(descs)) {
      const double fan = static_cast<double>(param.shape.count()) / static_cast<double>(param.shape[0]);
      const bool is_weight = param.role == "weight";
      src.push_back(constant(name + "/" + std::string(param.role), param.shape,
                             is_weight ? std::sqrt(2 / fan) : 0.05));
    }
    std::vector<std::string> names{name};
    while (names.size() < op.infer(graph.descs(src)).size()) names.push_back(name + "/rest");
    const NodeId id = graph.add_node(name, std::move(op), std::move(src), std::move(names));
    return graph.node(id).dst[0];
  }

  Graph graph;

 private:
  std::mt19937 random_;
};

inline Window window(std::int64_t kernel, std::int64_t stride, std::int64_t pad) {
  return {{kernel, kernel}, {stride, stride}, {pad, pad}, {1, 1}};
}

// What GoogLeNet has, small: normalisation, an inception block with a fused activation, an auxiliary
// loss, dropout.
inline Graph small_inception(std::int64_t batch = kBatch, unsigned seed = 1) {
  Network net(seed);
  const ValueId data = net.graph.add_input("data", {DType::f32, {batch, 3, 16, 16}});
  const ValueId label = net.graph.add_input("label", {DType::f32, {batch}});
  ValueId at = net.add("conv1", Conv{16, window(5, 2, 2), 1, true, Unary{}}, {data});
  at = net.add("pool1", Pool{Pool::Kind::max, window(3, 2, 0)}, {at});
  at = net.add("norm1", Lrn{5, 0.5, 0.75, 1}, {at});
  const ValueId one = net.add("1x1", Conv{8, window(1, 1, 0), 1, true, Unary{}}, {at});
  const ValueId reduced = net.add("3x3_reduce", Conv{6, window(1, 1, 0), 1, true, Unary{}}, {at});
  const ValueId three = net.add("3x3", Conv{8, window(3, 1, 1), 2, true, Unary{}}, {reduced});
  const ValueId pooled = net.add("pool", Pool{Pool::Kind::max, window(3, 1, 1)}, {at});
  at = net.add("output", Concat{}, {one, three, pooled});
  const ValueId aux = net.add("aux", InnerProduct{kClasses}, {at});
  net.graph.outputs.push_back(net.add("aux_loss", SoftmaxLoss{}, {aux, label}));
  at = net.add("scale", Scale{1, 1, true}, {at});
  at = net.add("sigmoid", Unary{Unary::Kind::sigmoid}, {at});
  at = net.add("pool2", Pool{Pool::Kind::average, {}, true}, {at});
  at = net.add("drop", Identity{Identity::Reason::dropout, 1, 0.25}, {at});
  at = net.add("classifier", InnerProduct{kClasses}, {at});
  net.graph.outputs.push_back(net.add("loss", SoftmaxLoss{}, {at, label}));
  net.graph.outputs.push_back(net.add("accuracy", Accuracy{}, {at, label}));
  net.graph.name = "small inception";
  return std::move(net.graph);
}

inline TrainingOptions two_losses() {
  TrainingOptions options;
  options.losses = {{"loss", 1}, {"aux_loss", 0.3}};
  // The way of Caffe's definitions: biases learn twice as fast and do not decay.
  options.rates = [](std::string_view name) {
    return name.ends_with("bias") ? std::pair{2.0, 0.0} : std::pair{1.0, 1.0};
  };
  return options;
}

struct Batch {
  std::vector<float> data, label;
};

// Noise, brighter in the channel of the class; in none for the last class.
inline Batch draw_batch(std::mt19937& random) {
  Batch batch;
  std::normal_distribution<float> noise(0, 0.3F);
  for (std::int64_t n = 0; n < kBatch; ++n) {
    const auto label = static_cast<std::int64_t>(random() % kClasses);
    batch.label.push_back(static_cast<float>(label));
    for (std::int64_t c = 0; c < 3; ++c) {
      for (int pixel = 0; pixel < 16 * 16; ++pixel)
        batch.data.push_back(noise(random) + (c == label ? 1.0F : 0.0F));
    }
  }
  return batch;
}

// Every operator that can be trained, each after the one before; several losses.
inline Graph one_of_each() {
  using Kind = Unary::Kind;
  Network net;
  const ValueId data = net.graph.add_input("data", {DType::f32, {2, 3, 29, 27}});
  const ValueId label = net.graph.add_input("label", {DType::f32, {2}});
  const ValueId pixel_labels = net.graph.add_input("pixel labels", {DType::f32, {2, 1, 5, 5}});
  const ValueId target = net.graph.add_input("target", {DType::f32, {2, 7}});
  ValueId at = net.add("conv1", Conv{24, window(3, 1, 1), 1, true, Unary{}}, {data});
  at = net.add("norm", Lrn{5, 0.1, 0.75, 1}, {at});
  at = net.add("pool", Pool{Pool::Kind::max, window(3, 2, 0)}, {at});
  at = net.add("norm within", Lrn{3, 0.1, 0.75, 1, Lrn::Region::within}, {at});
  at = net.add("average", Pool{Pool::Kind::average, window(5, 3, 1)}, {at});
  at = net.add("drop", Identity{Identity::Reason::dropout, 1, 0.5}, {at});
  for (const Kind kind : {Kind::relu, Kind::elu, Kind::sigmoid, Kind::tanh, Kind::abs, Kind::bnll})
    at = net.add(std::string(to_string(kind)), Unary{kind, 0.5}, {at});
  at = net.add("power", Unary{Kind::power, 3, 0.5, 1}, {at});
  at = net.add("exp", Unary{Kind::exp, 0, 0.1, 0}, {at});
  at = net.add("log", Unary{Kind::log, 0, 1, 1}, {at});
  at = net.add("times", Scale{0, 0}, {at});
  at = net.add("scale", Scale{1, 1, true}, {at});
  at = net.add("bias", Bias{}, {at});
  at = net.add("prelu", PRelu{}, {at});
  const NodeId parts = net.graph.add_node("parts", Slice{1, {8, 16}, 3}, {at}, {"a", "b", "c"});
  const std::vector<ValueId> three = net.graph.node(parts).dst;
  const ValueId sum = net.add("sum", Eltwise{Eltwise::Kind::sum, {1, -2, 0.5}}, three);
  const ValueId product = net.add("product", Eltwise{Eltwise::Kind::product}, {three[0], three[1]});
  const ValueId more = net.add("more", Eltwise{}, {sum, product});
  const ValueId images = net.add("images", Concat{0}, {more, product});
  const NodeId halves = net.graph.add_node("halves", Slice{0, {2}, 2}, {images}, {"first", "second"});
  const std::vector<ValueId> two = net.graph.node(halves).dst;
  at = net.add("joined", Concat{}, {two[0], two[1], product});
  const NodeId cut = net.graph.add_node("cut", Slice{1, {20}, 2}, {at}, {"taken", "left"});
  at = net.graph.node(cut).dst[0];  // nobody reads the other part
  const ValueId map = net.add("map", Conv{5, window(1, 1, 0)}, {at});
  const ValueId flat = net.add("flat", Flatten{}, {at});
  const ValueId vector = net.add("vector", InnerProduct{7, 1, true, false, Unary{}}, {flat});
  const ValueId fewer = net.add("drop vector", Identity{Identity::Reason::dropout, 1, 0.3}, {vector});
  const ValueId classes = net.add("classes", InnerProduct{kClasses}, {fewer});
  using Pair = PairLoss::Kind;
  const SoftmaxLoss of_pixels{1, 3, LossNorm::valid};
  for (const ValueId loss : {net.add("loss", SoftmaxLoss{}, {classes, label}),
                             net.add("pixel loss", of_pixels, {map, pixel_labels}),
                             net.add("distance", PairLoss{}, {fewer, target}),
                             net.add("cross", PairLoss{Pair::sigmoid_cross_entropy}, {vector, target}),
                             net.add("accuracy", Accuracy{1, 2}, {classes, label}),
                             net.add("pixel accuracy", Accuracy{1, 1, 3}, {map, pixel_labels})})
    net.graph.outputs.push_back(loss);
  net.graph.name = "one of each";
  return std::move(net.graph);
}

inline TrainingOptions all_losses() {
  TrainingOptions options;
  options.losses = {{"loss", 1}, {"pixel loss", 0.5}, {"distance", 0.1}, {"cross", 0.2}};
  return options;
}

// Names and operators of the plan's steps that the first of its devices does not make.
inline std::vector<std::string> steps_elsewhere(const Plan& plan) {
  std::vector<std::string> names;
  for (const Step& step : plan.steps) {
    if (step.kind == Step::Kind::kernel && step.device != 0) names.push_back(step.op + " " + step.name);
  }
  return names;
}

inline std::vector<double> doubles(std::span<const float> values) {
  return {values.begin(), values.end()};
}

// The same by references in double precision.
class ReferenceTraining {
 public:
  // `rewrite` may change the graph of gradients; the losses are scaled in fp16.
  ReferenceTraining(Graph network, TrainerOptions options,
                    const std::function<void(Graph&)>& rewrite = {})
      : options_(std::move(options)) {
    options_.training.accumulate = options_.passes > 1;
    options_.training.scaled = options_.precision == Precision::fp16;
    parameters_ = build_gradients(network, options_.training).parameters;
    if (rewrite) rewrite(network);
    gradients_ = std::move(network);
    update_ = build_update(parameters_, options_.solver, options_.training.accumulate);
    for (const Graph* graph : {&gradients_, &update_}) {
      for (const State& state : graph->states) {
        const Value& value = graph->value(state.begin);
        states_[value.name].resize(static_cast<std::size_t>(value.desc.count()));
      }
    }
    for (const Parameter& parameter : parameters_)
      states_[parameter.name] = doubles(parameter.initial->floats());
  }

  double pass(const Batch& batch, double step) {
    std::vector<std::vector<double>> inputs;
    for (const ValueId id : gradients_.inputs) {
      const std::string& name = gradients_.value(id).name;
      inputs.push_back(name == "data"    ? doubles(batch.data)
                       : name == "label" ? doubles(batch.label)
                                         : std::vector<double>{name == "loss scale" ? scale_ : step});
    }
    return run(gradients_, std::move(inputs), "loss");
  }
  double update(std::vector<double> controls) {
    return run(update_, {std::move(controls)}, "gradient norm");
  }

  const Graph& gradients() const { return gradients_; }

  double scale_ = 1;
  std::map<std::string, std::vector<double>> states_;
  std::vector<Parameter> parameters_;

 private:
  double run(const Graph& graph, std::vector<std::vector<double>> inputs, const char* result) {
    for (const State& state : graph.states) inputs.push_back(states_.at(graph.value(state.begin).name));
    const Values<double> values = interpret<double>(graph, inputs);
    for (const State& state : graph.states)
      states_[graph.value(state.begin).name] = values[static_cast<std::size_t>(state.end)];
    return values[static_cast<std::size_t>(graph.require(result))][0];
  }

  TrainerOptions options_;
  Graph gradients_, update_;
};

inline std::vector<const Device*> listed(const std::vector<std::unique_ptr<Device>>& devices) {
  std::vector<const Device*> list;
  for (const auto& device : devices) list.push_back(device.get());
  return list;
}

// The device, and behind it the CPU, where that is another.
inline std::vector<std::unique_ptr<Device>> open_all(std::string_view name,
                                                     const DeviceOptions& options = {}) {
  std::vector<std::unique_ptr<Device>> devices;
  devices.push_back(open_device(name, options));
  if (!devices[0]->is_host()) devices.push_back(open_device("cpu", options));
  return devices;
}

inline std::vector<float> state_of(const Trainer& trainer, const std::string& name) {
  std::vector<float> values(static_cast<std::size_t>(trainer.states().shape_of(name).count()));
  trainer.states().read(name, values);
  return values;
}

}  // namespace maru::testing
