// What conv_plain_f16 and conv_plain_f32 take: any convolution, of tensors in any layout of equal
// steps, one thread for each result. conv_depthwise_f16 and _f32: one of each channel by itself, in
// channels_last, a thread for 16 bytes of channels of one pixel.
#pragma once

#include <cstdint>

#include "backends/cuda/kernels/activation.h"

namespace maru::cuda {

struct ConvGeometry {
  std::int32_t height, width, out_height, out_width;
  std::int32_t kernel_h, kernel_w, stride_h, stride_w, pad_h, pad_w, dilation_h, dilation_w;
};

// In elements.
struct ConvStrides {
  std::int64_t image, channel, pixel;
};

struct ConvPlainParams {
  const void* src;
  const void* weights;
  const void* bias;  // null: none
  void* dst;
  Activation activation;
  ConvGeometry geometry;
  ConvStrides src_strides, dst_strides;
  std::int64_t weight_output, weight_input, weight_tap;  // strides of weights
  std::int32_t has_halves, has_half_bias;                // weights and bias are f16, not f32
  std::int32_t images, inputs, outputs, groups;          // inputs and outputs of one group
};

struct ConvDepthwiseParams {
  const void* src;
  const float* weights;  // [tap][channel]
  const float* bias;
  void* dst;
  Activation activation;
  ConvGeometry geometry;
  std::int64_t src_pixel_stride, dst_pixel_stride;  // images follow without a gap
  std::int32_t images, channels;                    // channels in whole chunks of 16 bytes
};

}  // namespace maru::cuda
