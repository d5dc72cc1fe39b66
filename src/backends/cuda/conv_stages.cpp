#include "backends/cuda/conv_stages.h"

#include <algorithm>

#include "backends/cuda/tuning.h"

namespace maru::cuda {

ConvPlan::Math math_of(const Runtime& runtime, DType dtype) {
  if (dtype == DType::f16) return ConvPlan::Math::f16;
  return runtime.tf32 && runtime.compute_capability() >= 80 ? ConvPlan::Math::tf32
                                                            : ConvPlan::Math::f32;
}

ConvDevice conv_device(const Runtime& runtime) {
  return {runtime.compute_capability(), runtime.facts().multiprocessors, runtime.facts().shared_bytes};
}

std::vector<Stage> stages_of(const ConvPlan& plan, const ConvOperands& operands) {
  const bool meets_in_memory = plan.workspace_bytes() > 0;
  ConvParams params = plan.params();
  params.activation = operands.activation;
  params.src_pixel_stride = operands.src_pixel_stride;
  params.dst_pixel_stride = operands.dst_pixel_stride;
  const auto bind = [params, meets_in_memory, has_bias = operands.has_bias](const Bound& bound) {
    ConvParams bound_params = params;
    bound_params.src = bound.src(0);
    bound_params.weights = bound.src(1);
    bound_params.bias = has_bias ? bound.src<float>(2) : nullptr;
    bound_params.dst = bound.dst(0);
    bound_params.partial = meets_in_memory ? bound.workspace<float>() : nullptr;
    return bound_params;
  };
  std::vector<Stage> stages{
      stage(plan.function(), plan.grid(), plan.block(), bind, plan.shared_bytes())};
  stages[0].cluster = plan.cluster();
  if (meets_in_memory) {
    const auto sum = [bind, splits = plan.splits](const Bound& bound) {
      const ConvParams from = bind(bound);
      return ConvSumParams{from.partial,
                           from.bias,
                           from.dst,
                           from.activation,
                           from.dst_pixel_stride,
                           from.pixels,
                           from.outputs * from.groups,
                           splits};
    };
    const DType dtype = plan.math == ConvPlan::Math::f16 ? DType::f16 : DType::f32;
    stages.push_back(
        stage(function_of("conv_sum", dtype), plan.shape.pixels() * plan.shape.outputs, sum));
  }
  return stages;
}

ConvPlan choose_plan(const Runtime& runtime, const std::string& call,
                     const std::vector<ConvPlan>& plans, const ConvOperands& operands) {
  if (!runtime.tune || plans.size() == 1) return plans[0];
  // Estimates are not so wrong that others could be the best.
  constexpr double kWorthTrying = 3;
  Trials trials;
  trials.call = call;
  const auto lanes = static_cast<std::size_t>(plans[0].math == ConvPlan::Math::f16 ? 2 : 4);
  const ConvShape& shape = plans[0].shape;
  for (const ConvPlan& plan : plans) {
    if (plan.seconds > kWorthTrying * plans[0].seconds) break;
    trials.names.push_back(plan.name());
    trials.workspace = std::max(trials.workspace, plan.workspace_bytes());
  }
  const auto bytes = [&](std::int64_t pixels, std::int64_t stride) {
    return static_cast<std::size_t>(pixels * stride) * lanes;
  };
  trials.src = {
      bytes(std::int64_t{shape.images} * shape.size[0] * shape.size[1], operands.src_pixel_stride),
      plans[0].packed_bytes(), static_cast<std::size_t>(shape.outputs) * sizeof(float)};
  trials.dst = {bytes(shape.pixels(), operands.dst_pixel_stride)};
  return plans[fastest(runtime, trials, [&](std::size_t i) { return stages_of(plans[i], operands); })];
}

bool is_chunked(const void* src, std::int64_t pixel_stride, DType dtype) {
  const auto element = static_cast<std::int64_t>(size_of(dtype));
  return reinterpret_cast<std::uintptr_t>(src) % kChunkBytes == 0 &&
         pixel_stride * element % kChunkBytes == 0;
}

}  // namespace maru::cuda
