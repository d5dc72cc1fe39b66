// What inner_product_f16 and inner_product_f32 take: a matrix times a few rows, a warp for each output
// and 4 rows at most. The grid is warps, by fours of rows.
#pragma once

#include <cstdint>

#include "backends/cuda/kernels/activation.h"

namespace maru::cuda {

constexpr int kInnerRows = 4;       // that a warp takes at once; "_1" takes one
constexpr int kInnerThreads = 128;  // of a block

struct InnerProductParams {
  const void* src;
  const void* weights;  // a row for each output, filled up with zeros to whole chunks of 16 bytes
  const float* bias;    // null: none
  void* dst;
  Activation activation;
  std::int64_t src_row_stride, weight_row_stride;  // in elements; of weights whole chunks
  std::int32_t rows, length, outputs;              // of src, a row of src, weights
};

}  // namespace maru::cuda
