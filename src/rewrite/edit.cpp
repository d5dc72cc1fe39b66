#include "rewrite/edit.h"

#include <algorithm>

namespace maru {

std::optional<NodeId> only_reader(const Graph& graph, ValueId id) {
  if (graph.is_output(id)) return std::nullopt;
  const auto readers = graph.readers(id);
  if (readers.size() != 1) return std::nullopt;
  const auto& src = graph.node(readers[0]).src;
  if (src[0] != id || std::ranges::count(src, id) != 1) return std::nullopt;
  return readers[0];
}

std::optional<NodeId> only_source(const Graph& graph, NodeId node) {
  const auto& src = graph.node(node).src;
  if (src.empty() || only_reader(graph, src[0]) != node) return std::nullopt;
  return graph.value(src[0]).producer;
}

void fuse_nodes(Graph& graph, NodeId first, NodeId last, Op op, std::vector<ValueId> src,
                std::string name) {
  Node& fused = graph.node(last);
  fused.op = std::move(op);
  fused.src = std::move(src);
  fused.name = std::move(name);
  if (first != last) graph.node(first).src.clear();
}

}  // namespace maru
