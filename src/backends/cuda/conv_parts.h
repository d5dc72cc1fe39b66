// What the providers of convolutions have in common.
#pragma once

#include "backends/cuda/conv_plan.h"
#include "backends/cuda/kernels/conv_plain.h"
#include "device/device.h"
#include "ops/conv.h"

namespace maru::cuda {

bool is_depthwise(const Conv& conv, const TensorDesc& src);
// Of a convolution from images of `data` to images of `result`.
ConvGeometry geometry_of(const Window& window, const Shape& data, const Shape& result);
ConvShape shape_of(const Window& window, std::int64_t group, const Shape& data, const Shape& result);
ConvStrides conv_strides(const TensorDesc& images);

}  // namespace maru::cuda
