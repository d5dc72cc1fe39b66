// The parameters of lrn_*: local response normalisation. Plain structs, for both sides.
#pragma once

#include "backends/cuda/kernels/images.h"

namespace maru::cuda {

// See ops/lrn.h: y = x (k + weight * sum of squares) ^ -beta.
struct LrnTerms {
  std::int32_t size;  // channels, or pixels in each direction
  float k, weight, beta;
  bool is_across;
};

struct LrnParams {
  const void* src;
  void* dst;
  ImageStrides src_strides, dst_strides;
  std::uint32_t images, channels;
  std::int32_t height, width;
  bool is_aligned;
  LrnTerms terms;
};

}  // namespace maru::cuda
