#include "ops/conv.h"

#include <algorithm>

#include "backends/cuda/activation.h"
#include "backends/cuda/conv_parts.h"
#include "backends/cuda/conv_stages.h"
#include "backends/cuda/packing.h"

namespace maru::cuda {

bool is_depthwise(const Conv& conv, const TensorDesc& src) {
  return conv.group > 1 && conv.group == src.shape[1] && conv.group == conv.outputs;
}

ConvGeometry geometry_of(const Window& window, const Shape& from, const Shape& to) {
  ConvGeometry geometry{};
  const auto set = [](std::int32_t& first, std::int32_t& second, std::int64_t a, std::int64_t b) {
    first = static_cast<std::int32_t>(a);
    second = static_cast<std::int32_t>(b);
  };
  set(geometry.height, geometry.width, from[2], from[3]);
  set(geometry.out_height, geometry.out_width, to[2], to[3]);
  set(geometry.kernel_h, geometry.kernel_w, window.kernel[0], window.kernel[1]);
  set(geometry.stride_h, geometry.stride_w, window.stride[0], window.stride[1]);
  set(geometry.pad_h, geometry.pad_w, window.pad[0], window.pad[1]);
  set(geometry.dilation_h, geometry.dilation_w, window.dilation[0], window.dilation[1]);
  return geometry;
}

ConvShape shape_of(const Window& window, std::int64_t group, const Shape& from, const Shape& to) {
  const auto narrow = [](std::int64_t value) { return static_cast<int>(value); };
  const auto pair = [&](const std::array<std::int64_t, 2>& values) {
    return std::array{narrow(values[0]), narrow(values[1])};
  };
  return {narrow(from[0]),          narrow(from[1]),     narrow(to[1]),       narrow(group),
          pair({from[2], from[3]}), pair(window.kernel), pair(window.stride), pair(window.pad),
          pair(window.dilation),    pair({to[2], to[3]})};
}

ConvStrides conv_strides(const TensorDesc& desc) {
  const Images images(desc);
  return {images.image_stride, images.channel_stride, images.pixel_stride};
}

namespace {

constexpr std::string_view kPlain = "conv plain";

ConvShape shape_of(const Conv& conv, const Call& call) {
  return cuda::shape_of(conv.window, conv.group, call.src[0].shape, call.dst[0].shape);
}

// The plain function, with weights as they are (constant or not) or as a plan has packed them.
Stage plain_stage(const Conv& conv, const Call& call, const ConvPlan* packed_by) {
  ConvPlainParams params{};
  params.activation = activation_of(conv.activation);
  params.geometry = geometry_of(conv.window, call.src[0].shape, call.dst[0].shape);
  params.src_strides = conv_strides(call.src[0]);
  params.dst_strides = conv_strides(call.dst[0]);
  const Shape& weights = call.src[1].shape;
  params.images = static_cast<std::int32_t>(call.src[0].shape[0]);
  params.inputs = static_cast<std::int32_t>(weights[1]);
  params.groups = static_cast<std::int32_t>(conv.group);
  params.outputs = static_cast<std::int32_t>(conv.outputs / conv.group);
  params.weight_tap = 1;
  params.weight_input = weights[2] * weights[3];
  params.weight_output = call.src[1].image_stride();
  const auto is_half = [&](std::size_t i) {
    return !call.constant[i] && call.src[i].dtype == DType::f16 ? 1 : 0;
  };
  params.has_halves = is_half(1);
  params.has_half_bias = conv.bias ? is_half(2) : 0;
  if (packed_by != nullptr) {
    params.has_halves = packed_by->math == ConvPlan::Math::f16 ? 1 : 0;
    params.weight_input = 1;
    params.weight_tap = weights[1];
    params.weight_output =
        static_cast<std::int64_t>(packed_by->packed_bytes() / static_cast<std::size_t>(conv.outputs) /
                                  (params.has_halves != 0 ? 2 : 4));
  }
  const auto bind = [params, has_bias = conv.bias](const Bound& bound) {
    ConvPlainParams bound_params = params;
    bound_params.src = bound.src(0);
    bound_params.weights = bound.src(1);
    bound_params.bias = has_bias ? bound.src(2) : nullptr;
    bound_params.dst = bound.dst(0);
    return bound_params;
  };
  return stage(function_of("conv_plain", *data_type(call)), call.dst[0].count(), bind);
}

// Weights that change, or a bias that does: packed by the device in each run.
std::unique_ptr<Kernel> packing_kernel(const Runtime& runtime, const Conv& conv, const Call& call,
                                       const ConvPlan& plan, ConvOperands operands) {
  const DType dtype = *data_type(call);
  Workspace workspace;
  Packing packing;
  packing.params = plan.packing();
  packing.params.row_step = call.src[1].image_stride();
  packing.params.group_step = packing.params.row_step * packing.params.rows;
  packing.weights = call.constant[1] ? DType::f32 : dtype;
  packing.math = plan.math;
  packing.to = workspace.add(plan.packed_bytes());
  operands.weights = {true, packing.to};
  if (conv.bias && !call.constant[2] && dtype == DType::f16) {
    packing.bias_to = workspace.add(static_cast<std::size_t>(conv.outputs) * sizeof(float));
    operands.bias = {true, *packing.bias_to};
  }
  operands.partial_at = workspace.add(plan.workspace_bytes());
  std::vector<Stage> stages = stages_of(plan, operands);
  stages.insert(stages.begin(), stage_of(packing));
  return std::make_unique<ChunkedKernel>(
      runtime, plan.name() + " packing", std::move(stages), workspace.bytes(),
      std::vector<std::size_t>{0},
      std::make_unique<CudaKernel>(runtime, std::string(kPlain),
                                   std::vector{plain_stage(conv, call, nullptr)}));
}

class TiledKernel final : public CudaKernel {
 public:
  TiledKernel(const Runtime& runtime, const ConvPlan& plan, const ConvOperands& operands,
              std::unique_ptr<Kernel> unaligned)
      : CudaKernel(runtime, plan.name(), stages_of(plan, operands), plan.workspace_bytes()),
        plan_(plan),
        unaligned_(std::move(unaligned)) {}

  std::size_t packed_bytes(std::size_t operand, const Constant& constant) const override {
    return operand == 1 ? plan_.packed_bytes() : CudaKernel::packed_bytes(operand, constant);
  }
  void pack(std::size_t operand, const Constant& constant, std::span<std::byte> packed) const override {
    if (operand != 1) return CudaKernel::pack(operand, constant, packed);
    plan_.pack(floats_of(constant.bytes()), packed);
  }
  std::string packed_form(std::size_t operand) const override {
    return operand == 1 ? plan_.form() : CudaKernel::packed_form(operand);
  }

  // Windows may begin at any channel, but blocks of 4 at a block: all that their kernel wants.
  std::unique_ptr<Launch> bind(std::span<const Tensor> src, std::span<const Tensor> dst,
                               const Tensor& workspace) const override {
    const void* first = Bound(src, dst, workspace).src(0);
    if (unaligned_ == nullptr || is_chunked(first, kChunkBytes, src[0].desc.dtype))
      return CudaKernel::bind(src, dst, workspace);
    return unaligned_->bind(src, dst, workspace);
  }

 private:
  ConvPlan plan_;
  std::unique_ptr<Kernel> unaligned_;  // takes the same weights; null for blocks of 4
};

class ConvProvider final : public Provider {
 public:
  std::string name() const override { return "conv"; }

  void offer(const Call& call, const Runtime& runtime, std::vector<Offer>& offers) const override {
    const auto* conv = call.op.as<Conv>();
    const std::optional<DType> dtype = data_type(call);
    if (conv == nullptr || !dtype) return;
    const bool all_constant = std::ranges::all_of(call.constant.subspan(1), std::identity());
    const auto add = [&](std::string name, Layout src, Layout dst, double seconds) {
      Offer offer = same_layout_offer(*this, call, dst, seconds);
      for (Layout& parameter : offer.src) parameter = Layout::plain();
      offer.kernel = std::move(name);
      offer.src[0] = src;
      offer.src_window = src.kind != Layout::Kind::blocked;
      offer.dst_window = true;
      offers.push_back(std::move(offer));
    };
    const ConvShape shape = shape_of(*conv, call);
    const double moved = memory_seconds(
        runtime, static_cast<double>(call.src[0].bytes() + call.dst[0].bytes() + call.src[1].bytes()));
    const double packed =
        all_constant ? 0 : memory_seconds(runtime, 2 * static_cast<double>(call.src[1].bytes()));
    const auto add_tiled = [&](Layout src, ConvPlan::Source source) {
      const ConvPlan::Math math = math_of(runtime, *dtype);
      if (!ConvPlan::takes(shape, math, source)) return;
      const auto plans = ConvPlan::candidates(shape, math, source, conv_device(runtime));
      add(name(), src, Layout::channels_last(), std::max(plans[0].seconds, moved) + packed);
    };
    add_tiled(Layout::blocked(4), ConvPlan::Source::four);
    if (!is_depthwise(*conv, call.src[0]))
      add_tiled(Layout::channels_last(), ConvPlan::Source::channels);
    // A thread for each result reads far more than it must.
    constexpr double kFlopsOfAUnit = 4e9;
    const double flops = call.op.cost(call.src, call.dst).flops;
    const double seconds = moved + flops / (kFlopsOfAUnit * runtime.facts().multiprocessors);
    for (const Layout layout : {Layout::channels_last(), Layout::plain()})
      add(std::string(kPlain), layout, layout, seconds);
  }

  std::unique_ptr<Kernel> compile(const Call& call, const Offer& offer,
                                  const Runtime& runtime) const override {
    const Conv& conv = *call.op.as<Conv>();
    const DType dtype = *data_type(call);
    const ConvOperands operands{conv.bias, activation_of(conv.activation),
                                Images(call.src[0]).pixel_stride, Images(call.dst[0]).pixel_stride};
    const bool is_four = call.src[0].layout.kind == Layout::Kind::blocked;
    const std::int64_t stride = is_four ? 4 : operands.src_pixel_stride;
    const bool is_tiled = offer.kernel == name() && (is_four || is_chunked(nullptr, stride, dtype));
    if (!is_tiled) return plain(runtime, conv, call, nullptr);
    ConvOperands own = operands;
    own.src_pixel_stride = stride;
    const auto plans = ConvPlan::candidates(
        shape_of(conv, call), math_of(runtime, dtype),
        is_four ? ConvPlan::Source::four : ConvPlan::Source::channels, conv_device(runtime));
    const ConvPlan plan = choose_plan(
        runtime, fmt::format("{} {} {}", call.op.key(), call.src[0].str(), call.dst[0].str()), plans,
        own);
    if (!std::ranges::all_of(call.constant.subspan(1), std::identity()))
      return packing_kernel(runtime, conv, call, plan, own);
    return std::make_unique<TiledKernel>(runtime, plan, own,
                                         is_four ? nullptr : plain(runtime, conv, call, &plan));
  }

 private:
  static std::unique_ptr<Kernel> plain(const Runtime& runtime, const Conv& conv, const Call& call,
                                       const ConvPlan* packed_by) {
    return std::make_unique<CudaKernel>(runtime, std::string(kPlain),
                                        std::vector{plain_stage(conv, call, packed_by)});
  }
};

}  // namespace

std::unique_ptr<Provider> conv_provider() { return std::make_unique<ConvProvider>(); }

}  // namespace maru::cuda
