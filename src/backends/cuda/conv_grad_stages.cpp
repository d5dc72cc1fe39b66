#include "backends/cuda/conv_grad_stages.h"

#include "backends/cuda/elements.h"

namespace maru::cuda {

std::vector<Stage> stages_of(const ConvGradPlan& plan, const ConvGradParams& params, DType result) {
  ConvGradParams fixed = params;
  fixed.is_half = result == DType::f16 ? 1 : 0;
  const auto bind = [fixed, splits = plan.splits](const Bound& bound) {
    ConvGradParams bound_params = fixed;
    bound_params.data = bound.src(0);
    bound_params.gradient = bound.src(1);
    bound_params.result = bound.dst(0);
    bound_params.partial = splits > 1 ? bound.workspace<float>() : nullptr;
    return bound_params;
  };
  std::vector<Stage> stages{
      stage(plan.function(), plan.grid(), plan.block(), bind, plan.shared_bytes())};
  if (plan.splits > 1)
    stages.push_back(
        conv_grad_sum_stage(params.columns, params.outputs * params.groups, plan.splits, result));
  return stages;
}

Stage conv_grad_sum_stage(const ConvGradColumns& columns, int outputs, int splits, DType result) {
  const auto bind = [columns, outputs, splits](const Bound& bound) {
    return ConvGradSumParams{bound.workspace<float>(), bound.dst(0), columns, outputs, splits};
  };
  const std::int64_t sums = std::int64_t{outputs} * columns.count;
  return stage(function_of("conv_grad_sum", result),
               {static_cast<unsigned>(divide_up(sums, kConvGradSums)), 1, 1},
               {kConvGradSums, kConvGradSummands, 1}, bind);
}

bool is_gradient_of_weights(const Call& call) {
  const DType data = call.src[0].dtype, result = call.dst[0].dtype;
  if (call.constant[0] || call.constant[1] || call.src[1].dtype != data) return false;
  return (data == DType::f32 || data == DType::f16) && (result == data || result == DType::f32);
}

}  // namespace maru::cuda
