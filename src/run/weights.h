// Weights: the constants of a plan, packed as its kernels want them. Made once by a model, or mapped
// from a packed file, read by all of its sessions; immutable afterwards.
#pragma once

#include <span>
#include <vector>

#include "memory/ledger.h"
#include "plan/plan.h"

namespace maru {

struct Weights {
  std::vector<Buffer>
      buffers;                // one for each region of weights, in the plan's order; empty where it is
  std::vector<bool> in_file;  // per buffer: it is the pages of a packed file; none when packed here
  Ledger ledger;              // bytes that were moved to where they are
};

// Allocates the regions of weights and packs every constant: in place where the CPU sees the memory,
// else beside it, and uploads it. Each constant is let go once it is packed, so that weights are in
// memory once where nobody else holds them. `devices` are those of the plan. Throws Error when there is
// not enough memory.
Weights pack_weights(Planned& planned, std::span<const Device* const> devices);

// Weights that were packed before, one span for each region of weights. A heap that imports takes the
// very pages, which must then outlive the weights; to others they are copied, and the ledger counts it.
Weights take_weights(const Plan& plan, std::span<const Device* const> devices,
                     std::span<const std::span<const std::byte>> packed);

}  // namespace maru
