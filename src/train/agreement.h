// What ranks that train together make sure of: that they do the same, and go on from the same. Each
// function is called by all ranks at the same point of their work.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "device/communicator.h"
#include "graph/graph.h"
#include "run/state_memory.h"

namespace maru {

// Throws Error on every rank, naming those that have another text than rank 0, and on these the first
// line that differs. `what` it is about, for people.
void require_same(Communicator& ranks, std::string_view what, std::string_view text,
                  std::string_view hint);

// A line for each constant of the graph, or for each of these states, with a checksum of its values.
std::string checksums(const Graph& graph);
std::string checksums(const StateMemory& states, const std::vector<std::string>& names);

// These states become what they are on rank 0.
void share_states(Communicator& ranks, const StateMemory& states,
                  const std::vector<std::string>& names);

}  // namespace maru
