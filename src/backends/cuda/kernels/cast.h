// The parameters of cast_*: rows of elements from one type to the other. A plain struct, for both
// sides.
#pragma once

#include "backends/cuda/kernels/rows.h"

namespace maru::cuda {

struct CastParams {
  const void* src;
  void* dst;
  std::int64_t src_stride, dst_stride;  // from one row to the next, in elements
  Rows rows;                            // by vectors of kCastVector
  bool is_aligned;
};

constexpr int kCastVector = 8;

}  // namespace maru::cuda
