#include <algorithm>

#include "backends/cuda/conv_grad_stages.h"
#include "backends/cuda/conv_parts.h"
#include "backends/cuda/conv_stages.h"
#include "backends/cuda/elements.h"
#include "backends/cuda/kernels/conv_grad_plain.h"
#include "ops/conv_grad.h"

namespace maru::cuda {
namespace {

constexpr std::string_view kPlain = "conv_grad_weight plain";

ConvShape shape_of(const ConvGradWeight& grad, const Call& call) {
  return cuda::shape_of(grad.window, grad.group, call.src[0].shape, call.src[1].shape);
}

std::unique_ptr<Kernel> plain_kernel(const Runtime& runtime, const Call& call) {
  const auto& grad = *call.op.as<ConvGradWeight>();
  const Shape& weights = call.dst[0].shape;
  const auto narrow = [](std::int64_t value) { return static_cast<std::int32_t>(value); };
  ConvGradWeightPlainParams params{};
  params.geometry = geometry_of(grad.window, call.src[0].shape, call.src[1].shape);
  params.data_strides = conv_strides(call.src[0]);
  params.gradient_strides = conv_strides(call.src[1]);
  params.images = narrow(call.src[0].shape[0]);
  params.inputs = narrow(weights[1]);
  params.groups = narrow(grad.group);
  params.outputs = narrow(weights[0] / grad.group);
  const std::int64_t taps = weights[2] * weights[3];
  ConvGradColumns columns{};
  columns.output_step = weights[1] * taps;
  columns.channel_step = taps;
  columns.tap_step = 1;
  columns.count = narrow(weights[1] * taps);
  columns.tap_length = columns.channels = narrow(weights[1]);
  columns.line_taps = narrow(weights[3]);
  columns.line_length = columns.line_taps * columns.tap_length;
  // Enough blocks for a card, each with something to do.
  constexpr std::int64_t kMostColumns = 65535, kBlocks = 16, kLeastPixels = 256, kMostSplits = 4096;
  const std::int64_t pixels = call.src[1].count() / std::max<std::int64_t>(weights[0], 1);
  const std::int64_t blocks = divide_up(weights[0], kPlainOutputs) * columns.count;
  const std::int64_t wanted =
      divide_up(kBlocks * runtime.facts().multiprocessors, std::max<std::int64_t>(blocks, 1));
  const std::int64_t splits =
      std::clamp<std::int64_t>(std::min(wanted, pixels / kLeastPixels), 1, kMostSplits);
  const auto bind = [params](const Bound& bound) {
    ConvGradWeightPlainParams bound_params = params;
    bound_params.data = bound.src(0);
    bound_params.gradient = bound.src(1);
    bound_params.partial = bound.workspace<float>();
    return bound_params;
  };
  std::vector<Stage> stages{
      stage(function_of("conv_grad_weight_plain", call.src[0].dtype),
            {static_cast<unsigned>(divide_up(weights[0], kPlainOutputs)),
             static_cast<unsigned>(std::min<std::int64_t>(columns.count, kMostColumns)),
             static_cast<unsigned>(splits)},
            {kPlainOutputs, kPlainPixels, 1}, bind),
      conv_grad_sum_stage(columns, narrow(weights[0]), static_cast<int>(splits), call.dst[0].dtype)};
  return std::make_unique<CudaKernel>(
      runtime, std::string(kPlain), std::move(stages),
      static_cast<std::size_t>(splits * weights.count()) * sizeof(float));
}

class ConvGradWeightProvider final : public Provider {
 public:
  std::string name() const override { return "conv_grad_weight"; }

  void offer(const Call& call, const Runtime& runtime, std::vector<Offer>& offers) const override {
    const auto* grad = call.op.as<ConvGradWeight>();
    if (grad == nullptr || !is_gradient_of_weights(call)) return;
    const DType dtype = call.src[0].dtype;
    const auto add = [&](std::string name, Layout data, Layout gradient, double seconds) {
      Offer offer = same_layout_offer(*this, call, Layout::plain(), seconds);
      offer.kernel = std::move(name);
      offer.src = {data, gradient};
      offer.src_window = data.kind != Layout::Kind::blocked;
      offers.push_back(std::move(offer));
    };
    const double moved = memory_seconds(
        runtime, static_cast<double>(call.src[0].bytes() + call.src[1].bytes() + call.dst[0].bytes()));
    const ConvShape shape = shape_of(*grad, call);
    const ConvPlan::Math math = math_of(runtime, dtype);
    const auto add_tiled = [&](Layout data, ConvPlan::Source source) {
      if (!ConvGradPlan::takes(shape, math, source)) return;
      const auto plans = ConvGradPlan::candidates(shape, math, source, conv_device(runtime));
      add(name(), data, Layout::channels_last(), std::max(plans[0].seconds, moved));
    };
    add_tiled(Layout::blocked(4), ConvPlan::Source::four);
    add_tiled(Layout::channels_last(), ConvPlan::Source::channels);
    // Neither operand is read once.
    constexpr double kFlopsOfAUnit = 4e9;
    const double flops = call.op.cost(call.src, call.dst).flops;
    const double seconds = moved + flops / (kFlopsOfAUnit * runtime.facts().multiprocessors);
    for (const Layout layout : {Layout::channels_last(), Layout::plain()})
      add(std::string(kPlain), layout, layout, seconds);
  }

  std::unique_ptr<Kernel> compile(const Call& call, const Offer& offer,
                                  const Runtime& runtime) const override {
    const DType dtype = call.src[0].dtype;
    const bool is_four = call.src[0].layout.kind == Layout::Kind::blocked;
    const std::int64_t data_stride = is_four ? 4 : Images(call.src[0]).pixel_stride;
    const std::int64_t gradient_stride = Images(call.src[1]).pixel_stride;
    const bool is_tiled = offer.kernel == name() &&
                          (is_four || is_chunked(nullptr, data_stride, dtype)) &&
                          is_chunked(nullptr, gradient_stride, dtype);
    if (!is_tiled) return plain_kernel(runtime, call);
    const ConvGradPlan plan = ConvGradPlan::candidates(
        shape_of(*call.op.as<ConvGradWeight>(), call), math_of(runtime, dtype),
        is_four ? ConvPlan::Source::four : ConvPlan::Source::channels, conv_device(runtime))[0];
    ConvGradParams params = plan.params(call.dst[0].image_stride());
    params.data_pixel_stride = data_stride;
    params.gradient_pixel_stride = gradient_stride;
    return std::make_unique<ChunkedKernel>(
        runtime, plan.name(), stages_of(plan, params, call.dst[0].dtype), plan.workspace_bytes(),
        std::vector<std::size_t>{0, 1}, plain_kernel(runtime, call));
  }
};

}  // namespace

std::unique_ptr<Provider> conv_grad_weight_provider() {
  return std::make_unique<ConvGradWeightProvider>();
}

}  // namespace maru::cuda
