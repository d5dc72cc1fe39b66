#include "rewrite/batch_statistics.h"

#include <algorithm>

#include "base/error.h"
#include "ops/batch_norm.h"
#include "ops/batch_norm_training.h"
#include "ops/running_statistics.h"
#include "ops/scale.h"
#include "rewrite/edit.h"

namespace maru {
namespace {

// Nodes that become one, the last of which computes it all.
struct Fused {
  BatchNormTraining op;
  std::vector<NodeId> nodes;
  std::vector<ValueId> src;
};

// A scale and a bias for each channel.
bool is_affine(const Graph& graph, const Node& node, const Shape& data) {
  const auto* scale = node.op.as<Scale>();
  if (scale == nullptr || !scale->bias || data.rank() < 2) return false;
  return data.axis(scale->axis) == 1 && graph.value(node.src[1]).desc.shape == Shape{data[1]};
}

Fused fused_from(const Graph& graph, NodeId id) {
  const Node& node = graph.node(id);
  Fused fused{{node.op.as<BatchNorm>()->epsilon}, {id}, {node.src[0]}};
  const Shape& data = graph.value(node.src[0]).desc.shape;
  auto next = only_reader(graph, node.dst[0]);
  if (next && is_affine(graph, graph.node(*next), data)) {
    fused.op.affine = true;
    fused.nodes.push_back(*next);
    fused.src.insert(fused.src.end(), graph.node(*next).src.begin() + 1, graph.node(*next).src.end());
    next = only_reader(graph, graph.node(*next).dst[0]);
  }
  const Unary* unary = next ? graph.node(*next).op.as<Unary>() : nullptr;
  if (unary != nullptr && BatchNormTraining::fits(*unary)) {
    fused.op.activation = *unary;
    fused.nodes.push_back(*next);
  }
  return fused;
}

// Returns the values of mean and variance.
std::array<ValueId, 2> write_fused(Graph& graph, const Fused& fused, const std::string& name) {
  const NodeId first = fused.nodes.front(), last = fused.nodes.back();
  for (const NodeId id : fused.nodes) graph.node(id).src.clear();
  fuse_nodes(graph, first, last, fused.op, fused.src, name);
  // Values come into being with a node; these go to the one that is in its place.
  const NodeId added =
      graph.add_node(name, fused.op, fused.src, {name, name + "/batch mean", name + "/batch variance"});
  const std::array<ValueId, 2> statistics{graph.node(added).dst[1], graph.node(added).dst[2]};
  graph.node(added).src.clear();
  graph.node(added).dst.resize(1);
  for (const ValueId id : statistics) {
    graph.node(last).dst.push_back(id);
    graph.value(id).producer = last;
  }
  return statistics;
}

}  // namespace

std::vector<Statistic> use_batch_statistics(Graph& graph) {
  std::vector<Statistic> all;
  const std::size_t nodes = graph.nodes().size();
  for (std::size_t n = 0; n < nodes; ++n) {
    const auto id = NodeId(static_cast<std::uint32_t>(n));
    const Node node = graph.node(id);  // a copy: adding nodes moves the graph's
    const auto* norm = node.op.as<BatchNorm>();
    if (norm == nullptr || norm->statistics == BatchNorm::Statistics::recorded) continue;
    const TensorDesc data = graph.value(node.src[0]).desc;
    const std::size_t first = graph.states.size();
    std::vector<ValueId> src;
    std::vector<std::string> names;
    for (std::size_t i = 1; i < node.src.size(); ++i) {
      const Value value = graph.value(node.src[i]);
      if (!value.constant)
        throw Error(node.name, fmt::format("{} that is a parameter", value.name),
                    "one that is computed");
      if (std::ranges::find(all, value.name, &Statistic::name) != all.end())
        throw Error(node.name, "statistics of its own", value.name + " of another layer",
                    "layers of different names that share no parameters");
      all.push_back({value.name, value.desc.shape, value.constant});
      src.push_back(graph.add_state(value.name, {DType::f32, value.desc.shape}));
      names.push_back(value.name + " recorded");
    }
    const auto statistics = write_fused(graph, fused_from(graph, id), node.name);
    src.insert(src.end(), statistics.begin(), statistics.end());
    const Extents extents = BatchNormTraining::channels_of(data.shape);
    const RunningStatistics running{norm->fraction, extents.outer * extents.inner};
    const NodeId recording = graph.add_node(node.name + "/statistics", running, src, names);
    for (std::size_t i = 0; i < names.size(); ++i)
      graph.states[first + i].end = graph.node(recording).dst[i];
  }
  return all;
}

}  // namespace maru
