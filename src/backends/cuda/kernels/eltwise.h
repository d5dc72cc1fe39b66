// The parameters of eltwise_*: several tensors to one; and of sum_ones: many of one element each, as
// the squares of gradients are. Plain structs, for both sides.
#pragma once

#include "backends/cuda/kernels/activation.h"
#include "backends/cuda/kernels/rows.h"

namespace maru::cuda {

constexpr int kEltwiseOperands = 8;  // of one launch, at most

struct EltwiseParams {
  enum class Kind : std::int32_t { sum, product, maximum };

  const void* src[kEltwiseOperands];
  void* dst;  // may be the bytes of src[0]
  // Of more operands than a launch takes: what those before made, and what those behind go on with, in
  // vectors of floats. Null for the first and the last.
  const float* before;
  float* behind;
  std::int64_t src_stride[kEltwiseOperands], dst_stride;  // from one row to the next, in elements
  float factor[kEltwiseOperands];                         // of a sum
  std::int32_t count;                                     // operands
  Kind kind;
  Rows rows;
  bool is_aligned;
  Activation activation;
};

constexpr int kSumOnes = 256;  // of one launch, at most, which is one block with a thread for each

struct SumOnesParams {
  const float* src[kSumOnes];
  float* dst;  // may be src[0]
  std::int32_t count;
};

}  // namespace maru::cuda
