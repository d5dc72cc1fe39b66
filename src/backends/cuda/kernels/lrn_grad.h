// The parameters of lrn_grad_*, and of lrn_parts_* before it: the gradient of local response
// normalisation. A plain struct, for both sides.
//
// See ops/lrn_grad.h: with s of the squares around, what each element gives to those around it is its
// part, g x s^(-beta - 1). Across few channels a thread computes the parts that it needs, of the
// vectors beside its own; else lrn_parts_* keeps them.
#pragma once

#include "backends/cuda/kernels/lrn.h"

namespace maru::cuda {

struct LrnGradParams {
  const void* gradient;
  const void* src;
  float* parts;
  void* dst;
  ImageStrides gradient_strides, src_strides, part_strides, dst_strides;
  std::uint32_t images, channels;
  std::int32_t height, width;
  bool is_gradient_aligned, is_src_aligned, is_dst_aligned;
  LrnTerms terms;
};

}  // namespace maru::cuda
