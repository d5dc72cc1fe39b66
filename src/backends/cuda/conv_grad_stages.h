// A ConvGradPlan as launches, for gradients of weights of convolutions and of inner products.
#pragma once

#include <vector>

#include "backends/cuda/conv_grad_plan.h"
#include "backends/cuda/provider.h"

namespace maru::cuda {

// Operands: data, gradient, with pixel strides as in `params`. The result is f32 or f16.
std::vector<Stage> stages_of(const ConvGradPlan& plan, const ConvGradParams& params, DType result);
// Adds the splits' sums, from the beginning of the workspace. `outputs`: of all groups.
Stage conv_grad_sum_stage(const ConvGradColumns& columns, int outputs, int splits, DType result);
// Whether both operands are f32 or both f16, and data, and the result is f32 or as they are.
bool is_gradient_of_weights(const Call& call);

}  // namespace maru::cuda
