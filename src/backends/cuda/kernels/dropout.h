// The parameters of dropout_*: elements at random become zero. Plain structs, for both sides.
#pragma once

#include "backends/cuda/kernels/images.h"
#include "backends/cuda/kernels/philox.h"
#include "backends/cuda/kernels/rows.h"

namespace maru::cuda {

// dropout_plain_*: rows, whose elements are in the order of the plain layout. dropout_*: images whose
// channels are neighbours.
struct DropoutParams {
  const void* src;
  const float* step;                    // one, a whole number
  void* dst;                            // may be the bytes of `src`
  std::int64_t src_stride, dst_stride;  // of rows, from one to the next, in elements
  Rows rows;
  ImageStrides src_strides, dst_strides;  // of images
  std::uint32_t images, channels, pixels;
  bool is_aligned;
  DropoutTerms terms;
  std::uint64_t first;  // the index of the first element
};

}  // namespace maru::cuda
