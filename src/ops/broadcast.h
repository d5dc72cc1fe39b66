// How Scale and Bias lay a smaller tensor over some axes of a larger one.
#pragma once

#include "ops/reference.h"

namespace maru {

// Shape of the parameter that covers `num_axes` axes of `data` from `axis` on; -1 stands for all that
// follow, 0 for a scalar. Throws Error where there are fewer.
Shape covered_shape(const Shape& data, std::int64_t axis, std::int64_t num_axes);

// The axes of `data` that `operand` covers from `axis` on are the middle ones. A scalar covers
// everything, whatever the axis. Throws Error where the extents differ.
Extents cover(const Shape& data, const Shape& operand, std::int64_t axis);

}  // namespace maru
