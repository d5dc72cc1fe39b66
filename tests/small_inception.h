// A small network that has what GoogLeNet has, and something to learn for it.
#pragma once

#include <algorithm>
#include <cmath>
#include <random>
#include <string>
#include <vector>

#include "ops/concat.h"
#include "ops/conv.h"
#include "ops/identity.h"
#include "ops/inner_product.h"
#include "ops/loss.h"
#include "ops/lrn.h"
#include "ops/pool.h"
#include "ops/scale.h"
#include "rewrite/training.h"

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

}  // namespace maru::testing
