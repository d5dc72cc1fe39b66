// The parameters of unary_*: a function of each element. A plain struct, for both sides.
#pragma once

#include "backends/cuda/kernels/activation.h"
#include "backends/cuda/kernels/rows.h"

namespace maru::cuda {

struct UnaryParams {
  const void* src;
  void* dst;
  std::int64_t src_stride, dst_stride;  // from one row to the next, in elements
  Rows rows;
  bool is_aligned;
  Activation activation;
};

}  // namespace maru::cuda
