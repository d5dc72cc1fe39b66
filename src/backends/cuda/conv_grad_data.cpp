#include <algorithm>

#include "backends/cuda/conv_grad_plan.h"
#include "backends/cuda/conv_parts.h"
#include "backends/cuda/conv_stages.h"
#include "backends/cuda/elements.h"
#include "backends/cuda/kernels/conv_grad_plain.h"
#include "ops/conv_grad.h"

namespace maru::cuda {
namespace {

constexpr std::string_view kPlain = "conv_grad_data plain";

DType type_of_weights(const Call& call) { return call.constant[1] ? DType::f32 : call.src[1].dtype; }

ConvShape shape_of(const ConvGradData& grad, const Call& call) {
  return cuda::shape_of(grad.window, grad.group, call.dst[0].shape, call.src[0].shape);
}

std::unique_ptr<Kernel> plain_kernel(const Runtime& runtime, const Call& call) {
  const auto& grad = *call.op.as<ConvGradData>();
  const Shape& weights = call.src[1].shape;
  ConvGradDataPlainParams params{};
  params.geometry = geometry_of(grad.window, call.dst[0].shape, call.src[0].shape);
  params.gradient_strides = conv_strides(call.src[0]);
  params.dst_strides = conv_strides(call.dst[0]);
  params.weight_tap = 1;
  params.weight_input = weights[2] * weights[3];
  params.weight_output = call.src[1].image_stride();
  params.has_halves = type_of_weights(call) == DType::f16 ? 1 : 0;
  params.images = static_cast<std::int32_t>(call.src[0].shape[0]);
  params.inputs = static_cast<std::int32_t>(weights[1]);
  params.groups = static_cast<std::int32_t>(grad.group);
  params.outputs = static_cast<std::int32_t>(weights[0] / grad.group);
  const auto bind = [params](const Bound& bound) {
    ConvGradDataPlainParams bound_params = params;
    bound_params.gradient = bound.src(0);
    bound_params.weights = bound.src(1);
    bound_params.dst = bound.dst(0);
    return bound_params;
  };
  return std::make_unique<CudaKernel>(
      runtime, std::string(kPlain),
      std::vector{
          stage(function_of("conv_grad_data_plain", call.dst[0].dtype), call.dst[0].count(), bind)});
}

// Pixels of one tensor, or of the workspace, spread over those of another.
Stage spread_stage(const ConvExpandParams& params, DType dtype, std::optional<std::size_t> from,
                   std::optional<std::size_t> to) {
  const auto bind = [params, dtype, from, to](const Bound& bound) {
    const auto bytes = static_cast<std::int64_t>(size_of(dtype));
    ConvExpandParams bound_params = params;
    bound_params.src = from ? bound.workspace(*from) : bound.src(0);
    bound_params.dst = to ? bound.workspace(*to) : bound.dst(0);
    bound_params.is_aligned = is_aligned(bound_params.src, params.src_pixel_stride * bytes) &&
                                      is_aligned(bound_params.dst, params.dst_pixel_stride * bytes)
                                  ? 1
                                  : 0;
    return bound_params;
  };
  const std::int64_t pixels = std::int64_t{params.images} * params.height * params.width;
  return stage(function_of("conv_expand", dtype), pixels * divide_up(params.channels, vector_of(dtype)),
               bind);
}

std::unique_ptr<Kernel> tiled_kernel(const Runtime& runtime, const Call& call) {
  const auto& grad = *call.op.as<ConvGradData>();
  const DType dtype = call.dst[0].dtype;
  const DataGradient gradient(shape_of(grad, call));
  const auto bytes_of = [&](std::int64_t pixels, std::int64_t channels) {
    return static_cast<std::size_t>(pixels * channels) * size_of(dtype);
  };
  Workspace workspace;
  ConvOperands operands;
  operands.src_pixel_stride = Images(call.src[0]).pixel_stride;
  operands.dst_pixel_stride = Images(call.dst[0]).pixel_stride;
  ConvExpandParams spread = gradient.spread();
  spread.src_pixel_stride = operands.src_pixel_stride;
  spread.dst_pixel_stride = operands.dst_pixel_stride;
  std::vector<Stage> before, after;
  if (gradient.spreads_before) {
    const std::int64_t pixels = std::int64_t{spread.images} * spread.height * spread.width;
    operands.src = {true, workspace.add(bytes_of(pixels, spread.channels))};
    operands.src_pixel_stride = spread.dst_pixel_stride = spread.channels;
    before.push_back(spread_stage(spread, dtype, std::nullopt, operands.src.at));
  }
  if (gradient.spreads_after) {
    operands.dst_at = workspace.add(bytes_of(gradient.conv.pixels(), spread.channels));
    operands.dst_pixel_stride = spread.src_pixel_stride = spread.channels;
    after.push_back(spread_stage(spread, dtype, *operands.dst_at, std::nullopt));
  }
  const ConvPlan plan =
      choose_plan(runtime, fmt::format("{} {} {}", call.op.key(), call.src[0].str(), call.dst[0].str()),
                  ConvPlan::candidates(gradient.conv, math_of(runtime, dtype),
                                       ConvPlan::Source::channels, conv_device(runtime)),
                  operands);
  Packing packing;
  packing.params = plan.packing();
  gradient.exchange(packing.params, call.src[1].image_stride());
  packing.weights = type_of_weights(call);
  packing.math = plan.math;
  packing.to = workspace.add(plan.packed_bytes());
  operands.weights = {true, packing.to};
  operands.partial_at = workspace.add(plan.workspace_bytes());
  std::vector<Stage> stages{stage_of(packing)};
  const auto append = [&](const std::vector<Stage>& more) {
    stages.insert(stages.end(), more.begin(), more.end());
  };
  append(before);
  append(stages_of(plan, operands));
  append(after);
  return std::make_unique<ChunkedKernel>(runtime, "conv_grad_data by " + plan.name(), std::move(stages),
                                         workspace.bytes(), std::vector<std::size_t>{0},
                                         plain_kernel(runtime, call));
}

class ConvGradDataProvider final : public Provider {
 public:
  std::string name() const override { return "conv_grad_data"; }

  void offer(const Call& call, const Runtime& runtime, std::vector<Offer>& offers) const override {
    const auto* grad = call.op.as<ConvGradData>();
    const std::optional<DType> dtype = data_type(call);
    if (grad == nullptr || !dtype) return;
    const auto add = [&](std::string name, Layout layout, double seconds) {
      Offer offer = same_layout_offer(*this, call, layout, seconds);
      offer.kernel = std::move(name);
      offer.src[1] = Layout::plain();
      offer.src_window = offer.dst_window = true;
      offers.push_back(std::move(offer));
    };
    const double moved = memory_seconds(
        runtime,
        static_cast<double>(call.src[0].bytes() + call.dst[0].bytes() + 3 * call.src[1].bytes()));
    const ConvPlan::Math math = math_of(runtime, *dtype);
    const DataGradient gradient(shape_of(*grad, call));
    if (ConvPlan::takes(gradient.conv, math, ConvPlan::Source::channels)) {
      const auto plans =
          ConvPlan::candidates(gradient.conv, math, ConvPlan::Source::channels, conv_device(runtime));
      add(name(), Layout::channels_last(), std::max(plans[0].seconds, moved) + moved);
    }
    // A thread for each result reads far more than it must.
    constexpr double kFlopsOfAUnit = 4e9;
    const double flops = call.op.cost(call.src, call.dst).flops;
    const double seconds = moved + flops / (kFlopsOfAUnit * runtime.facts().multiprocessors);
    for (const Layout layout : {Layout::channels_last(), Layout::plain()})
      add(std::string(kPlain), layout, seconds);
  }

  std::unique_ptr<Kernel> compile(const Call& call, const Offer& offer,
                                  const Runtime& runtime) const override {
    const bool is_tiled = offer.kernel == name() &&
                          is_chunked(nullptr, Images(call.src[0]).pixel_stride, call.src[0].dtype);
    return is_tiled ? tiled_kernel(runtime, call) : plain_kernel(runtime, call);
  }
};

}  // namespace

std::unique_ptr<Provider> conv_grad_data_provider() { return std::make_unique<ConvGradDataProvider>(); }

}  // namespace maru::cuda
