#include <algorithm>
#include <cmath>

#include "ops/batch_norm.h"
#include "ops/bias.h"
#include "ops/conv.h"
#include "ops/inner_product.h"
#include "ops/scale.h"
#include "rewrite/edit.h"
#include "rewrite/rewrite.h"

namespace maru {
namespace {

using Doubles = std::vector<double>;

// y = scale[c] x + shift[c] for channel c on axis 1; one entry when it is the same for all.
struct Affine {
  Doubles scale, shift;

  bool is_scalar() const { return scale.size() == 1; }
  double scale_at(std::size_t channel) const { return scale[is_scalar() ? 0 : channel]; }
  double shift_at(std::size_t channel) const { return shift[is_scalar() ? 0 : channel]; }
  bool shifts() const {
    return std::ranges::any_of(shift, [](double s) { return s != 0; });
  }
  // As what it will be stored in.
  bool is_finite() const {
    const auto finite = [](double x) { return std::isfinite(static_cast<float>(x)); };
    return std::ranges::all_of(scale, finite) && std::ranges::all_of(shift, finite);
  }
  Affine then(const Affine& next) const {
    Affine both;
    for (std::size_t c = 0; c < std::max(scale.size(), next.scale.size()); ++c) {
      both.scale.push_back(scale_at(c) * next.scale_at(c));
      both.shift.push_back(shift_at(c) * next.scale_at(c) + next.shift_at(c));
    }
    return both;
  }
};

// Affine nodes in a row, each the only reader of the one before, and what they compute together.
struct Chain {
  std::vector<NodeId> nodes;
  Affine affine{{1}, {0}};
};

bool is_parameter(const Graph& graph, ValueId id) {
  return graph.value(id).constant && graph.value(id).desc.dtype == DType::f32;
}

bool has_parameters(const Graph& graph, const Node& node) {
  return !node.src.empty() && std::all_of(node.src.begin() + 1, node.src.end(),
                                          [&](ValueId id) { return is_parameter(graph, id); });
}

Doubles doubles(const Graph& graph, ValueId id) {
  const auto floats = graph.value(id).constant->floats();
  return {floats.begin(), floats.end()};
}

// Whether the middle axes are one number, or the channels of `data` and nothing else.
bool is_per_channel(const Shape& data, const Extents& middle) {
  if (middle.middle == 1) return true;
  return data.rank() >= 2 && middle == extents_around(data, 1, 2);
}

Affine batch_norm_affine(const Graph& graph, const Node& node, const BatchNorm& norm) {
  const Doubles mean = doubles(graph, node.src[1]), variance = doubles(graph, node.src[2]);
  const double recorded = doubles(graph, node.src[3])[0];
  const double factor = recorded == 0 ? 0 : 1 / recorded;
  Affine affine;
  for (std::size_t c = 0; c < mean.size(); ++c) {
    affine.scale.push_back(1 / std::sqrt(variance[c] * factor + norm.epsilon));
    affine.shift.push_back(-mean[c] * factor * affine.scale[c]);
  }
  return affine;
}

// What the node does to its first operand, when it is such a function with known finite parameters.
std::optional<Affine> affine_of(const Graph& graph, const Node& node) {
  if (!has_parameters(graph, node)) return std::nullopt;
  const Shape& data = graph.value(node.src[0]).desc.shape;
  Affine affine;
  if (const auto* unary = node.op.as<Unary>()) {
    if (unary->kind != Unary::Kind::power || unary->alpha != 1) return std::nullopt;
    affine = {{unary->scale}, {unary->shift}};
  } else if (const auto* norm = node.op.as<BatchNorm>(); norm && norm->takes_recorded()) {
    affine = batch_norm_affine(graph, node, *norm);
  } else if (const auto* scale = node.op.as<Scale>()) {
    if (!is_per_channel(data, scale->covered(data, graph.value(node.src[1]).desc.shape))) {
      return std::nullopt;
    }
    affine.scale = doubles(graph, node.src[1]);
    affine.shift = scale->bias ? doubles(graph, node.src[2]) : Doubles(affine.scale.size(), 0.0);
  } else if (const auto* bias = node.op.as<Bias>()) {
    if (!is_per_channel(data, bias->covered(data, graph.value(node.src[1]).desc.shape))) {
      return std::nullopt;
    }
    affine.shift = doubles(graph, node.src[1]);
    affine.scale.assign(affine.shift.size(), 1.0);
  } else {
    return std::nullopt;
  }
  if (!affine.is_finite()) return std::nullopt;
  return affine;
}

// The longest chain from `first` on; without nodes when it is not affine.
Chain chain_from(const Graph& graph, std::optional<NodeId> first, bool scalars_only) {
  Chain chain;
  for (auto id = first; id; id = only_reader(graph, graph.node(*id).dst[0])) {
    const auto affine = affine_of(graph, graph.node(*id));
    if (!affine || (scalars_only && !affine->is_scalar())) break;
    Affine both = chain.affine.then(*affine);
    if (!both.is_finite()) break;
    chain.affine = std::move(both);
    chain.nodes.push_back(*id);
  }
  return chain;
}

// A convolution or inner product as the folding sees it: result o is the sum over k of weight(o, k)
// times an element of channel(o, k), plus bias[o].
struct Linear {
  std::int64_t outputs = 0, length = 0;  // length: products in one result
  std::int64_t group_outputs = 0, group_channels = 0, channel_length = 1;
  bool transposed = false;
  bool per_channel = true;  // whether axis 1 is channels, before and behind
  bool padded = false;
  std::vector<float> weight;
  Doubles bias;  // empty when there is none
  bool new_bias = false;

  float& at(std::int64_t o, std::int64_t k) {
    return weight[static_cast<std::size_t>(transposed ? k * outputs + o : o * length + k)];
  }
  std::size_t channel(std::int64_t o, std::int64_t k) const {
    return static_cast<std::size_t>(o / group_outputs * group_channels + k / channel_length);
  }
  void need_bias() { bias.resize(static_cast<std::size_t>(outputs), 0.0); }
};

bool is_linear(const Graph& graph, const Node& node) {
  return (node.op.as<Conv>() || node.op.as<InnerProduct>()) && has_parameters(graph, node);
}

Linear linear_of(const Graph& graph, const Node& node) {
  const Shape& data = graph.value(node.src[0]).desc.shape;
  Linear linear;
  if (const auto* conv = node.op.as<Conv>()) {
    linear.outputs = conv->outputs;
    linear.group_outputs = conv->outputs / conv->group;
    linear.group_channels = data[1] / conv->group;
    linear.channel_length = conv->window.kernel[0] * conv->window.kernel[1];
    linear.length = linear.group_channels * linear.channel_length;
    linear.padded = conv->window.pad != std::array<std::int64_t, 2>{0, 0};
  } else {
    const auto* product = node.op.as<InnerProduct>();
    const std::size_t axis = data.axis(product->axis);
    linear.outputs = linear.group_outputs = product->outputs;
    linear.length = data.count(axis, data.rank());
    linear.transposed = product->transpose;
    linear.per_channel = axis == 1;
    linear.group_channels = linear.per_channel ? data[1] : 1;
    linear.channel_length = linear.per_channel ? data.count(2, data.rank()) : linear.length;
  }
  linear.weight = graph.value(node.src[1]).constant->floats();
  if (node.src.size() > 2) linear.bias = doubles(graph, node.src[2]);
  return linear;
}

bool has_activation(const Op& op) {
  if (const auto* conv = op.as<Conv>()) return conv->activation.has_value();
  if (const auto* product = op.as<InnerProduct>()) return product->activation.has_value();
  return false;
}

// affine(linear(x))
void fold_behind(Linear& linear, const Affine& affine) {
  if (affine.shifts()) linear.need_bias();
  linear.new_bias = !linear.bias.empty();
  for (std::int64_t o = 0; o < linear.outputs; ++o) {
    const auto c = static_cast<std::size_t>(o);
    const double scale = affine.scale_at(c);
    for (std::int64_t k = 0; k < linear.length; ++k) {
      float& weight = linear.at(o, k);
      weight = static_cast<float>(weight * scale);
    }
    if (!linear.bias.empty()) linear.bias[c] = linear.bias[c] * scale + affine.shift_at(c);
  }
}

// linear(affine(x)). False when padding, which is 0 behind the affine function, would have to be
// shifted.
bool fold_before(Linear& linear, const Affine& affine) {
  if (!affine.is_scalar() && !linear.per_channel) return false;
  if (affine.shifts()) {
    if (linear.padded) return false;
    linear.need_bias();
    linear.new_bias = true;
  }
  for (std::int64_t o = 0; o < linear.outputs; ++o) {
    for (std::int64_t k = 0; k < linear.length; ++k) {
      const std::size_t c = linear.channel(o, k);
      float& weight = linear.at(o, k);
      if (linear.new_bias) linear.bias[static_cast<std::size_t>(o)] += weight * affine.shift_at(c);
      weight = static_cast<float>(weight * affine.scale_at(c));
    }
  }
  return true;
}

ValueId add_floats(Graph& graph, std::string name, Shape shape, std::vector<float> values) {
  return graph.add_constant(std::move(name),
                            std::make_shared<const Constant>(shape, std::move(values)));
}

std::vector<float> floats(const Doubles& values) {
  std::vector<float> rounded(values.size());
  std::ranges::transform(values, rounded.begin(), [](double x) { return static_cast<float>(x); });
  return rounded;
}

// Makes `last` compute, in the place of itself and `first`, the operator of `node` (one of the two) on
// `data` with the parameters of `linear`; `folded` names what went into them.
void write_linear(Graph& graph, NodeId first, NodeId last, const Node& node, ValueId data,
                  Linear linear, const std::string& folded) {
  const auto with_bias = [&](auto attributes) -> Op {
    attributes.bias = !linear.bias.empty();
    return attributes;
  };
  const Op op =
      node.op.as<Conv>() ? with_bias(*node.op.as<Conv>()) : with_bias(*node.op.as<InnerProduct>());
  const std::string name = node.name;
  const Value& weight = graph.value(node.src[1]);
  std::vector<ValueId> src{data};
  src.push_back(add_floats(graph, fmt::format("{}+{}", weight.name, folded), weight.desc.shape,
                           std::move(linear.weight)));
  if (linear.new_bias) {
    const std::string bias_name = node.src.size() > 2 ? graph.value(node.src[2]).name : name + "/bias";
    src.push_back(add_floats(graph, fmt::format("{}+{}", bias_name, folded), {linear.outputs},
                             floats(linear.bias)));
  } else if (node.src.size() > 2) {
    src.push_back(node.src[2]);
  }
  fuse_nodes(graph, first, last, op, std::move(src), name);
}

// Makes `last` compute `affine` of the operand of `first`: as a Power when one scalar does, otherwise
// as a Scale.
void write_affine(Graph& graph, NodeId first, NodeId last, const Affine& affine,
                  const std::string& name) {
  std::vector<ValueId> src{graph.node(first).src[0]};
  if (affine.is_scalar()) {
    const Unary power{Unary::Kind::power, 1, affine.scale[0], affine.shift[0]};
    return fuse_nodes(graph, first, last, power, src, name);
  }
  Scale scale;
  scale.bias = affine.shifts();
  const Shape shape{static_cast<std::int64_t>(affine.scale.size())};
  src.push_back(add_floats(graph, name + "/scale", shape, floats(affine.scale)));
  if (scale.bias) src.push_back(add_floats(graph, name + "/bias", shape, floats(affine.shift)));
  fuse_nodes(graph, first, last, scale, src, name);
}

std::string joined_name(const Graph& graph, const Chain& chain) {
  std::string joined;
  for (const NodeId id : chain.nodes) joined += (joined.empty() ? "" : "+") + graph.node(id).name;
  return joined;
}

// Those of the chain before its last node compute nothing any more.
void drop_inner(Graph& graph, const Chain& chain) {
  for (std::size_t i = 0; i + 1 < chain.nodes.size(); ++i) graph.node(chain.nodes[i]).src.clear();
}

void log_folds(const Graph& graph, RewriteLog& log, const Chain& chain, const Node& into) {
  for (const NodeId id : chain.nodes) {
    log.add("folded {} {} into {}", graph.node(id).op.name(), graph.node(id).name, into.name);
  }
}

// What stands behind a convolution or inner product, into it.
bool fold_chain_behind(Graph& graph, RewriteLog& log, NodeId id) {
  const Node& node = graph.node(id);
  if (!is_linear(graph, node) || has_activation(node.op)) return false;
  const auto* product = node.op.as<InnerProduct>();
  const bool scalars_only = product && graph.value(node.dst[0]).desc.shape.rank() != 2;
  const Chain chain = chain_from(graph, only_reader(graph, node.dst[0]), scalars_only);
  if (chain.nodes.empty()) return false;
  Linear linear = linear_of(graph, node);
  fold_behind(linear, chain.affine);
  log_folds(graph, log, chain, node);
  drop_inner(graph, chain);
  write_linear(graph, id, chain.nodes.back(), node, node.src[0], std::move(linear),
               joined_name(graph, chain));
  return true;
}

// Two affine nodes or more, which no operator before them takes up, into one.
bool compose_chain(Graph& graph, RewriteLog& log, NodeId id) {
  const Chain chain = chain_from(graph, id, false);
  if (chain.nodes.size() < 2) return false;
  const std::string name = joined_name(graph, chain);
  const ValueId data = graph.node(id).src[0];
  drop_inner(graph, chain);
  const NodeId last = chain.nodes.back();
  graph.node(last).src[0] = data;
  write_affine(graph, last, last, chain.affine, name);
  log.add("composed {} into one {}", name, graph.node(last).op.name());
  return true;
}

// What stands before a convolution or inner product, into it.
bool fold_chain_before(Graph& graph, RewriteLog& log, NodeId id) {
  const Chain chain = chain_from(graph, id, false);
  if (chain.nodes.empty()) return false;
  const auto reader = only_reader(graph, graph.node(chain.nodes.back()).dst[0]);
  if (!reader || !is_linear(graph, graph.node(*reader))) return false;
  const Node& node = graph.node(*reader);
  Linear linear = linear_of(graph, node);
  if (!fold_before(linear, chain.affine)) return false;
  log_folds(graph, log, chain, node);
  const ValueId data = graph.node(id).src[0];
  drop_inner(graph, chain);
  write_linear(graph, chain.nodes.back(), *reader, node, data, std::move(linear),
               joined_name(graph, chain));
  return true;
}

// BatchNorm takes a division and a root for each channel, each time; as a Scale it does not.
bool simplify_batch_norm(Graph& graph, RewriteLog& log, NodeId id) {
  const Node& node = graph.node(id);
  const auto affine = node.op.as<BatchNorm>() ? affine_of(graph, node) : std::nullopt;
  if (!affine) return false;
  const std::string name = node.name;
  write_affine(graph, id, id, *affine, name);
  log.add("turned batch_norm {} into a {}", name, graph.node(id).op.name());
  return true;
}

}  // namespace

bool fold_affine(Graph& graph, RewriteLog& log) {
  bool changed = false;
  for (const auto step : {fold_chain_behind, fold_chain_before, compose_chain, simplify_batch_norm}) {
    for (std::size_t i = 0; i < graph.nodes().size(); ++i) {
      changed |= step(graph, log, NodeId(static_cast<std::uint32_t>(i)));
    }
  }
  if (changed) graph.tidy();
  return changed;
}

}  // namespace maru
