// Which device runs each node of a graph, and where each value lives: what lowering must know before it
// walks. Internal to the room `plan`.
#pragma once

#include <vector>

#include "graph/graph.h"
#include "plan/placement.h"

namespace maru::planning {

struct Assignment {
  std::vector<std::size_t> device;  // per node; of views: the device whose memory they look at
  std::vector<Side> home;           // per value: the side that writes it
  std::vector<Place> place;         // per value; not for constants
};

// Nodes go to the first device that has an offer. Throws Error naming the node when none has.
Assignment assign(const Graph& graph, const Placement& placement);

// Whether a node computes nothing: its results are bytes of its operands.
bool is_view(const Graph& graph, const Node& node);
// Offset in channels of every part of a node that only cuts or joins along the channel axis.
std::optional<std::vector<std::int64_t>> channel_parts(const Graph& graph, const Node& node);
// Whether the result is the very bytes of the operand: identity, reshape.
bool keeps_bytes(const Op& op);

// What a kernel reads of its first operand, in shares of its bytes: once, and beyond that again by
// windows that overlap, were none of it kept on the chip.
struct Reading {
  double once = 1, again = 0;
};
Reading reading(const Op& op, const TensorDesc& src);

}  // namespace maru::planning
