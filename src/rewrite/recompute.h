// Recomputation: memory for time when training. Results of the network are forgotten and computed again
// when the way back needs them.
#pragma once

#include <cstddef>

#include "graph/graph.h"

namespace maru {

// The first `network` nodes of the graph are the network's, in its order, the others the way back's.
// The network is cut into segments; what crosses a cut is kept, what else the way back reads is
// computed again from it (Chen et al., Training Deep Nets with Sublinear Memory Cost, 2016). Where it
// is cut is what needs least by the lifetimes of values, in the order of the nodes. Each node computes
// the same again, dropout included, so that no result changes. The graph is tidy then. Returns how many
// nodes are computed twice; 0 where that would need no less memory.
std::size_t recompute(Graph& graph, std::size_t network);

}  // namespace maru
