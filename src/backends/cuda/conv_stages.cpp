#include "backends/cuda/conv_stages.h"

#include <algorithm>

#include "backends/cuda/tuning.h"

namespace maru::cuda {

ConvPlan::Math math_of(const Runtime& runtime, DType dtype) {
  if (dtype == DType::f16) return ConvPlan::Math::f16;
  return runtime.tf32 && runtime.code_capability() >= 80 ? ConvPlan::Math::tf32 : ConvPlan::Math::f32;
}

ConvDevice conv_device(const Runtime& runtime) {
  return {runtime.code_capability(), runtime.facts().multiprocessors, runtime.facts().shared_bytes};
}

std::vector<Stage> stages_of(const ConvPlan& plan, const ConvOperands& operands) {
  const bool meets_in_memory = plan.workspace_bytes() > 0;
  ConvParams params = plan.params();
  params.activation = operands.activation;
  params.src_pixel_stride = operands.src_pixel_stride;
  params.dst_pixel_stride = operands.dst_pixel_stride;
  const auto bind = [params, meets_in_memory, operands](const Bound& bound) {
    ConvParams bound_params = params;
    bound_params.src = operands.src.of(bound);
    bound_params.weights = operands.weights.of(bound);
    bound_params.bias =
        operands.has_bias ? static_cast<const float*>(operands.bias.of(bound)) : nullptr;
    bound_params.dst = operands.dst_at ? bound.workspace(*operands.dst_at) : bound.dst(0);
    bound_params.partial = meets_in_memory ? bound.workspace<float>(operands.partial_at) : nullptr;
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

Stage stage_of(const Packing& packing) {
  const ConvPackParams& params = packing.params;
  const auto tiles = [](std::int64_t n) {
    return static_cast<unsigned>((n + kPackTile - 1) / kPackTile);
  };
  const auto bind = [packing](const Bound& bound) {
    ConvPackParams bound_params = packing.params;
    bound_params.src = bound.src(1);
    bound_params.dst = bound.workspace(packing.to);
    if (packing.bias_to) {
      bound_params.bias = bound.src(2);
      bound_params.float_bias = bound.workspace<float>(*packing.bias_to);
    }
    return bound_params;
  };
  std::string function = "conv_pack_f16";
  if (packing.math == ConvPlan::Math::f16) {
    if (packing.weights == DType::f32) function += "_of_f32";
  } else {
    function = packing.math == ConvPlan::Math::tf32 ? "conv_pack_tf32" : "conv_pack_f32";
  }
  // Biases alone have no elements.
  return stage(
      std::move(function),
      {std::max(1u, tiles(params.row_length)), tiles(std::int64_t{params.rows} * params.groups), 1},
      {kPackTile, kPackRows, 1}, bind);
}

std::size_t Workspace::add(std::size_t bytes) {
  constexpr std::size_t kAlignment = 256;
  const std::size_t begin = bytes_;
  bytes_ += (bytes + kAlignment - 1) / kAlignment * kAlignment;
  return begin;
}

std::unique_ptr<Launch> ChunkedKernel::bind(std::span<const Tensor> src, std::span<const Tensor> dst,
                                            const Tensor& workspace) const {
  const Bound bound(src, dst, workspace);
  const bool are_chunked = std::ranges::all_of(operands_, [&](std::size_t i) {
    return is_chunked(bound.src(i), kChunkBytes, src[i].desc.dtype);
  });
  return are_chunked ? CudaKernel::bind(src, dst, workspace) : unaligned_->bind(src, dst, workspace);
}

ConvPlan choose_plan(const Runtime& runtime, const std::string& call,
                     const std::vector<ConvPlan>& plans, const ConvOperands& of_call) {
  if (!runtime.tune || plans.size() == 1) return plans[0];
  ConvOperands operands;  // each in memory of its own
  operands.has_bias = of_call.has_bias;
  operands.activation = of_call.activation;
  operands.src_pixel_stride = of_call.src_pixel_stride;
  operands.dst_pixel_stride = of_call.dst_pixel_stride;
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
