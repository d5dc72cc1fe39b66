#include <algorithm>

#include "backends/cuda/activation.h"
#include "backends/cuda/conv_parts.h"
#include "backends/cuda/packing.h"
#include "backends/cuda/provider.h"

namespace maru::cuda {
namespace {

int lanes_of(DType dtype) { return static_cast<int>(16 / size_of(dtype)); }

class DepthwiseKernel final : public CudaKernel {
 public:
  using CudaKernel::CudaKernel;

  // Taps, each of all channels.
  void pack(std::size_t operand, const Constant& constant, std::span<std::byte> packed) const override {
    if (operand != 1) return CudaKernel::pack(operand, constant, packed);
    const std::vector<float> values = floats_of(constant.bytes());
    const std::span<float> to = as_floats(packed);
    const auto channels = static_cast<std::size_t>(constant.desc().shape[0]);
    const std::size_t taps = values.size() / channels;
    for (std::size_t i = 0; i < values.size(); ++i) to[i] = values[i % channels * taps + i / channels];
  }
  std::string packed_form(std::size_t operand) const override {
    return operand == 1 ? "cuda depthwise" : CudaKernel::packed_form(operand);
  }
};

class DepthwiseProvider final : public Provider {
 public:
  std::string name() const override { return "depthwise"; }

  void offer(const Call& call, const Runtime& runtime, std::vector<Offer>& offers) const override {
    const auto* conv = call.op.as<Conv>();
    const std::optional<DType> dtype = data_type(call);
    if (conv == nullptr || !dtype || !is_depthwise(*conv, call.src[0])) return;
    if (!std::ranges::all_of(call.constant.subspan(1), std::identity())) return;
    if (conv->outputs % lanes_of(*dtype) != 0) return;
    const auto moved = static_cast<double>(call.src[0].bytes() + call.dst[0].bytes());
    offers.push_back(
        same_layout_offer(*this, call, Layout::channels_last(), memory_seconds(runtime, moved)));
    offers.back().src_window = offers.back().dst_window = true;
  }

  std::unique_ptr<Kernel> compile(const Call& call, const Offer&,
                                  const Runtime& runtime) const override {
    const Conv& conv = *call.op.as<Conv>();
    const DType dtype = *data_type(call);
    ConvDepthwiseParams params{};
    params.activation = activation_of(conv.activation);
    params.geometry = geometry_of(conv.window, call.src[0].shape, call.dst[0].shape);
    params.src_pixel_stride = Images(call.src[0]).pixel_stride;
    params.dst_pixel_stride = Images(call.dst[0]).pixel_stride;
    params.images = static_cast<std::int32_t>(call.src[0].shape[0]);
    params.channels = static_cast<std::int32_t>(conv.outputs);
    const auto bind = [params, has_bias = conv.bias](const Bound& bound) {
      ConvDepthwiseParams bound_params = params;
      bound_params.src = bound.src(0);
      bound_params.weights = bound.src<float>(1);
      bound_params.bias = has_bias ? bound.src<float>(2) : nullptr;
      bound_params.dst = bound.dst(0);
      return bound_params;
    };
    return std::make_unique<DepthwiseKernel>(
        runtime, "conv_depthwise",
        std::vector{
            stage(function_of("conv_depthwise", dtype), call.dst[0].count() / lanes_of(dtype), bind)});
  }
};

}  // namespace

std::unique_ptr<Provider> depthwise_provider() { return std::make_unique<DepthwiseProvider>(); }

}  // namespace maru::cuda
