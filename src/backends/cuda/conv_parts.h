// What the providers of convolutions have in common.
#pragma once

#include "backends/cuda/kernels/conv_plain.h"
#include "device/device.h"
#include "ops/conv.h"

namespace maru::cuda {

bool is_depthwise(const Conv& conv, const TensorDesc& src);
ConvGeometry geometry_of(const Conv& conv, const Call& call);

}  // namespace maru::cuda
