// What the boards compute with: the operators' reference kernels, and quicker plain loops for
// convolutions, of which networks are made. Stateless; any thread.
#pragma once

#include "graph/op.h"

namespace maru::board {

// Plain layout; operands of Identity, which changes layouts, may be blocked, and windows of larger
// tensors.
void compute(const Op& op, Views src, Views dst);

}  // namespace maru::board
