// The parameters of pool_*: maximum or average of windows. Plain structs, for both sides.
#pragma once

#include "backends/cuda/kernels/images.h"

namespace maru::cuda {

// A window as it slides over images; see ops/pool.h.
struct PoolWindow {
  enum class Kind : std::int32_t { max, average_padded, average_valid };

  Kind kind;
  std::int32_t height, width, dst_height, dst_width;  // of the images
  std::int32_t kernel[2], stride[2], pad[2];          // height, width
};

struct PoolParams {
  const void* src;
  void* dst;
  ImageStrides src_strides, dst_strides;
  std::uint32_t images, channels;
  bool is_aligned;
  PoolWindow window;
};

// pool_global_*: blocks of so many vectors by so many threads, which share the pixels of an image.
constexpr int kGlobalVectors = 4, kGlobalSlices = 32;

}  // namespace maru::cuda
