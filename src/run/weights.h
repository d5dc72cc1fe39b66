// Weights: the constants of a plan, packed as its kernels want them. Made once by a model, read by all
// of its sessions; immutable afterwards.
#pragma once

#include <span>
#include <vector>

#include "memory/ledger.h"
#include "plan/plan.h"

namespace maru {

struct Weights {
  std::vector<Buffer>
      buffers;    // one for each region of weights, in the plan's order; empty where it is
  Ledger ledger;  // bytes that went to memory which the CPU cannot see
};

// Allocates the regions of weights and packs every constant: in place where the CPU sees the memory,
// else beside it, and uploads it. `devices` are those of the plan. Throws Error when there is not
// enough memory.
Weights pack_weights(const Planned& planned, std::span<const Device* const> devices);

}  // namespace maru
