// For tests: random graphs, the same for the same seed. Layers in place, shared parameters, and outputs
// in the middle are all likely.
#pragma once

#include <algorithm>

#include "ops/batch_norm.h"
#include "ops/bias.h"
#include "ops/concat.h"
#include "ops/eltwise.h"
#include "ops/identity.h"
#include "ops/inner_product.h"
#include "ops/pool.h"
#include "ops/reshape.h"
#include "ops/scale.h"
#include "ops/slice.h"
#include "ops/softmax.h"
#include "rewrite/test_graphs.h"

namespace maru::rewrite_tests {

struct RandomGraphOptions {
  std::int64_t most_images = 2;
  bool views = false;  // slices and reshapes, too
};

class RandomGraph {
 public:
  explicit RandomGraph(unsigned seed, RandomGraphOptions options = {})
      : options_(options), builder_(seed) {
    live_.push_back(builder_.input("data", {pick(1, options_.most_images), pick(2, 5), pick(3, 5), 4}));
    const auto layers = pick(3, 16);
    for (std::int64_t i = 0; i < layers; ++i) add_layer(i);
    if (pick(0, 1)) add_head();
    Graph& graph = builder_.graph;
    for (std::size_t i = 1; i < graph.values().size(); ++i) {
      const auto id = ValueId(static_cast<std::uint32_t>(i));
      const Value& value = graph.value(id);
      if (value.producer && (graph.readers(id).empty() || pick(0, 11) == 0))
        graph.outputs.push_back(id);
    }
    graph.tidy();
  }
  const Graph& graph() const { return builder_.graph; }

 private:
  std::int64_t pick(std::int64_t low, std::int64_t high) {
    return low + static_cast<std::int64_t>(builder_.random()) % (high - low + 1);
  }
  ValueId any() {  // rather a late one
    const auto most = static_cast<std::int64_t>(live_.size()) - 1;
    return live_[static_cast<std::size_t>(std::max(pick(0, most), pick(0, most)))];
  }
  const Shape& shape(ValueId id) { return builder_.graph.value(id).desc.shape; }

  Op random_conv(std::int64_t channels) {
    Conv op = pick(0, 2) ? conv(pick(1, 3)) : conv(pick(1, 3), 3, 1);
    if (pick(0, 9) == 0) op = conv(2, 2);
    op.bias = pick(0, 2) != 0;
    if (pick(0, 5) == 0) op.outputs = op.group = channels;
    if (pick(0, 9) == 0) op.activation = Unary{Unary::Kind::elu, 0.5};
    return op;
  }
  Op random_unary() {
    switch (pick(0, 6)) {
      case 0:
        return Unary{Unary::Kind::power, 1, uniform(builder_.random, 0.5, 1.5), pick(0, 1) * 0.25};
      case 1:
        return Unary{Unary::Kind::power, 1, 1, 0};
      case 2:
        return Unary{Unary::Kind::sigmoid};
      case 3:
        return Unary{Unary::Kind::abs};
      case 4:
        return Unary{Unary::Kind::tanh};
      default:
        return Unary{Unary::Kind::relu, pick(0, 1) * 0.1};
    }
  }

  void add_layer(std::int64_t number) {
    const std::string name = fmt::format("layer{}", number);
    const ValueId src = any();
    const Shape in = shape(src);
    // Of Caffe's layers these may write where they read.
    const std::string own = pick(0, 1) ? name : builder_.graph.value(src).name;
    const std::string dst = own == "data" ? name : own;
    const auto kind = pick(0, options_.views ? 17 : 13);
    if (kind == 0) {
      add_siblings(name, src);
    } else if (kind <= 4) {
      const Op op = random_conv(in[1]);
      if (in[2] < 2 || in[3] < 2) return;
      live_.push_back(builder_.add(name, op, with_shared_parameters(op, src)));
    } else if (kind == 5) {
      live_.push_back(builder_.add(name, BatchNorm{}, {src}, dst));
    } else if (kind == 6) {
      const bool scalar = pick(0, 3) == 0;
      live_.push_back(builder_.add(name, Scale{1, scalar ? 0 : 1, pick(0, 1) == 0}, {src}, dst));
    } else if (kind == 7) {
      live_.push_back(builder_.add(name, Bias{pick(1, 3)}, {src}, dst));
    } else if (kind <= 9) {
      live_.push_back(builder_.add(name, random_unary(), {src}, dst));
    } else if (kind == 10) {
      if (pick(0, 1)) return live_.push_back(builder_.add(name, Identity{}, {src}, dst));
      const NodeId split =
          builder_.node(name, Identity{Identity::Reason::split, 2}, {src}, {name + "_0", name + "_1"});
      for (const ValueId part : builder_.graph.node(split).dst) live_.push_back(part);
    } else if (kind == 11) {
      const Window window{{3, 3}, {1, 1}, {1, 1}, {1, 1}};
      live_.push_back(
          builder_.add(name, Pool{pick(0, 1) ? Pool::Kind::max : Pool::Kind::average, window}, {src}));
    } else if (kind == 12 && in[1] <= 32) {
      std::vector<ValueId> parts{src};
      for (const ValueId id : live_) {
        if (shape(id).with(1, in[1]) == in && pick(0, 1) && parts.size() < 4) parts.push_back(id);
      }
      live_.push_back(builder_.add(name, Concat{}, parts));
    } else if (kind >= 14) {
      add_view(name, src, kind == 17);
    } else {
      const ValueId other = any();
      if (shape(other) == in) live_.push_back(builder_.add(name, Eltwise{}, {src, other}));
    }
  }

  // 1x1 convolutions of one value, alike or nearly so, and perhaps a concatenation of them.
  void add_siblings(const std::string& name, ValueId src) {
    std::vector<ValueId> results;
    for (std::int64_t i = pick(2, 3); i > 0; --i) {
      const std::string own = fmt::format("{}/{}", name, i);
      ValueId x = builder_.add(own, conv(pick(1, 5), 1, 0, pick(0, 5) != 0), {src});
      if (pick(0, 1)) x = builder_.add(own + "_relu", Unary{}, {x}, own);
      results.push_back(x);
      live_.push_back(x);
    }
    if (pick(0, 1)) results.push_back(src);
    std::ranges::shuffle(results, builder_.random);
    if (pick(0, 2)) live_.push_back(builder_.add(name, Concat{}, results));
  }

  void add_view(const std::string& name, ValueId src, bool reshapes) {
    const Shape in = shape(src);
    if (reshapes) {
      live_.push_back(builder_.add(name, Reshape{{0, 0, in[3], in[2]}}, {src}));
    } else if (in[1] >= 2) {
      const std::int64_t point = pick(1, in[1] - 1);
      const NodeId cut = builder_.node(name, Slice{1, {point}, 2}, {src}, {name + "_0", name + "_1"});
      for (const ValueId part : builder_.graph.node(cut).dst) live_.push_back(part);
    }
  }

  // Sometimes the parameters of another layer with the same ones.
  std::vector<ValueId> with_shared_parameters(const Op& op, ValueId src) {
    const auto wanted = op.params(std::vector{builder_.graph.value(src).desc});
    for (const Node& node : builder_.graph.nodes()) {
      if (node.op.name() != "conv" || node.src.size() != wanted.size() + 1 || pick(0, 2)) continue;
      if (shape(node.src[1]) == wanted[0].shape) {
        std::vector<ValueId> operands = node.src;
        operands[0] = src;
        return operands;
      }
    }
    return {src};
  }

  void add_head() {
    ValueId x = any();
    if (pick(0, 1)) x = builder_.add("flat", Flatten{}, {x});
    x = builder_.add("ip", InnerProduct{4, 1, pick(0, 1) == 0, pick(0, 1) == 0}, {x});
    if (pick(0, 1)) x = builder_.add("ip_bn", BatchNorm{}, {x}, "ip");
    if (pick(0, 1)) x = builder_.add("ip_relu", Unary{}, {x}, "ip");
    builder_.add("prob", Softmax{}, {builder_.add("ip_drop", Identity{}, {x}, "ip")});
  }

  RandomGraphOptions options_;
  Builder builder_;
  std::vector<ValueId> live_;
};

}  // namespace maru::rewrite_tests
