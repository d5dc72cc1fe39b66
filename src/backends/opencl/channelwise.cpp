#include <optional>

#include "backends/opencl/provider.h"
#include "ops/batch_norm.h"
#include "ops/bias.h"
#include "ops/prelu.h"
#include "ops/reference.h"
#include "ops/scale.h"

namespace maru::opencl {
namespace {

// Which function of kernels/channelwise.cl a call is, and how its parameters lie over the data.
struct Channelwise {
  std::string function;
  Extents extents;
  bool is_shared = false;
  std::size_t a = 1, b = 1, factor = 1;  // operands; where there is none, any will do
  double epsilon = 0;
};

std::optional<Channelwise> channelwise_of(const Call& call) {
  const Shape& data = call.src[0].shape;
  if (const auto* scale = call.op.as<Scale>()) {
    return Channelwise{scale->bias ? "affine" : "scale", scale->covered(data, call.src[1].shape), false,
                       1, scale->bias ? std::size_t{2} : 1};
  }
  if (const auto* bias = call.op.as<Bias>()) {
    return Channelwise{"bias", bias->covered(data, call.src[1].shape)};
  }
  if (const auto* prelu = call.op.as<PRelu>()) {
    return Channelwise{"prelu", extents_around(data, 1, 2), prelu->shared};
  }
  if (const auto* norm = call.op.as<BatchNorm>(); norm != nullptr && norm->takes_recorded()) {
    const Extents extents = data.rank() == 1 ? Extents{1, 1, data[0]} : extents_around(data, 1, 2);
    return Channelwise{"batch_norm", extents, false, 1, 2, 3, norm->epsilon};
  }
  return std::nullopt;
}

// Scale, Bias, PReLU and BatchNorm.
class ChannelwiseProvider final : public Provider {
 public:
  std::string name() const override { return "channelwise.cl"; }

  void offer(const Call& call, const Runtime& runtime, std::vector<Offer>& offers) const override {
    if (!has_floats(call, runtime)) return;
    const auto channelwise = channelwise_of(call);
    if (!channelwise) return;
    if (is_half(call) && !all_constant(call)) return;  // parameters are floats
    const bool is_per_channel = channelwise->extents == channels_of(call.src[0].shape);
    for (const Layout layout : natural_layouts(call, runtime)) {
      if (layout.block > 1 && !is_per_channel) continue;
      Offer offer = same_layout_offer(*this, call, layout,
                                      memory_seconds(static_cast<double>(call.src[0].bytes()) * 2));
      for (std::size_t i = 1; i < offer.src.size(); ++i) offer.src[i] = Layout::plain();
      offer.in_place = true;
      offer.dst_window = is_per_channel;
      // A window may then be any operand, and parameters that are data cannot be.
      offer.src_window = is_per_channel && all_constant(call);
      offers.push_back(std::move(offer));
    }
  }

  std::unique_ptr<Kernel> compile(const Call& call, const Runtime& runtime) const override {
    const Channelwise how = *channelwise_of(call);
    const Layout layout = call.src[0].layout;
    const std::int64_t middle = how.extents.middle, inner = how.extents.inner;
    // Only images have windows, and only where each is a step of the outer axes.
    const bool has_images = how.extents == channels_of(call.src[0].shape);
    const auto stride = [&](const TensorDesc& desc) {
      return static_cast<cl_ulong>(has_images ? desc.image_stride() : middle * inner);
    };
    const std::string options = fmt::format("{} -DAPPLY=APPLY_{}{}", block_option(layout), how.function,
                                            how.is_shared ? " -DSHARED" : "") +
                                half_option(call);
    const bool is_blocked = layout.block > 1;
    return std::make_unique<OpenclKernel>(
        fmt::format("channelwise.cl {}", how.function),
        std::vector{stage(
            runtime.program("channelwise", options), "channelwise", is_blocked ? inner : middle * inner,
            is_blocked ? (middle + layout.block - 1) / layout.block : 1, how.extents.outer,
            {src(0), dst(0), src(how.a), src(how.b), src(how.factor), stride(call.src[0]),
             stride(call.dst[0]), static_cast<cl_ulong>(inner), static_cast<cl_ulong>(middle),
             static_cast<cl_float>(how.epsilon)})});
  }

 private:
  // Images by channels; other shapes are whatever channelwise_of() says.
  static Extents channels_of(const Shape& shape) {
    return shape.rank() == 4 ? extents_around(shape, 1, 2) : Extents{0, 0, 0};
  }

  static bool all_constant(const Call& call) {
    for (std::size_t i = 1; i < call.src.size(); ++i) {
      if (!call.constant[i]) return false;
    }
    return true;
  }
};

}  // namespace

std::unique_ptr<Provider> channelwise_provider() { return std::make_unique<ChannelwiseProvider>(); }

}  // namespace maru::opencl
