// Steps that several rewrites take. They leave dead nodes behind, which read nothing, until
// Graph::tidy().
#pragma once

#include <optional>
#include <vector>

#include "graph/graph.h"

namespace maru {

// The node that alone reads the value, as its first operand and only once; nothing for a graph output.
std::optional<NodeId> only_reader(const Graph& graph, ValueId id);

// The node before, which alone computes src[0] of `node`, when `node` is the only reader of it.
std::optional<NodeId> only_source(const Graph& graph, NodeId node);

// Lets `last` compute what `first`, read by it alone, and it computed together: `op` of `src`, as node
// `name`. The values of `last` stay as they are. The two may be one and the same.
void fuse_nodes(Graph& graph, NodeId first, NodeId last, Op op, std::vector<ValueId> src,
                std::string name);

}  // namespace maru
