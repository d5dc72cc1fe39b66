// A ConvPlan as launches, for whatever is a product of matrices: convolutions, and inner products of
// many rows.
#pragma once

#include <string>
#include <vector>

#include "backends/cuda/conv_plan.h"
#include "backends/cuda/provider.h"

namespace maru::cuda {

// What the plan does not know. Operands: data, packed weights, biases of f32 where there are some.
struct ConvOperands {
  bool has_bias = false;
  Activation activation;
  std::int64_t src_pixel_stride = 0, dst_pixel_stride = 0;  // in elements
};

// Of data of this type, by this device.
ConvPlan::Math math_of(const Runtime& runtime, DType dtype);
ConvDevice conv_device(const Runtime& runtime);
std::vector<Stage> stages_of(const ConvPlan& plan, const ConvOperands& operands);
// The best plan: as measured where kernels are tuned, else as estimated. `call` names what is computed.
ConvPlan choose_plan(const Runtime& runtime, const std::string& call,
                     const std::vector<ConvPlan>& plans, const ConvOperands& operands);

// Whether tiles can be loaded from here, in whole chunks.
bool is_chunked(const void* src, std::int64_t pixel_stride, DType dtype);

}  // namespace maru::cuda
