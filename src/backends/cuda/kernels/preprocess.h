// The parameters of preprocess_*: photos to the input of a network. A plain struct, for both sides.
#pragma once

#include "backends/cuda/kernels/images.h"

namespace maru::cuda {

// See ops/preprocess.h and vision/resize.h.
struct PreprocessParams {
  const std::uint8_t* pixels;
  const std::int32_t* frames;  // 4 a photo: height, width, bytes of a row, offset in units of 16 bytes
  void* dst;
  std::int64_t bytes;  // of `pixels`
  ImageStrides dst_strides;
  std::int32_t photos, height, width;  // of the result
  float mean[3], scale;                // in the order of the result's channels
  bool is_crop, is_bgr;
  bool is_padded;   // pixels of the result have a fourth channel, zero
  bool is_aligned;  // those can be written at once
};

// A block makes so much of the result, a thread a pixel.
constexpr int kPreprocessColumns = 64, kPreprocessRows = 4;

}  // namespace maru::cuda
