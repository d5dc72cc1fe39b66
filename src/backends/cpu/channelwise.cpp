#include <algorithm>

#include "backends/cpu/provider.h"
#include "ops/bias.h"
#include "ops/prelu.h"
#include "ops/scale.h"

namespace maru::cpu {
namespace {

// One constant (or two) for each channel: Scale, Bias and PReLU. The last block of a blocked tensor is
// padded with channels whose values stay as they are: zero.
template <class F>
void for_channels(const TensorDesc& desc, const F& run) {
  const std::int64_t channels = desc.shape[1], pixels = desc.shape.count(2, desc.shape.rank());
  const std::int64_t block = desc.layout.block, blocks = (channels + block - 1) / block;
  const std::int64_t runs = desc.shape[0] * blocks;
#pragma omp parallel for
  for (std::int64_t r = 0; r < runs; ++r) {
    const std::int64_t first = r % blocks * block;
    const std::int64_t offset = r / blocks * desc.image_stride() + first * pixels;
    run(first, std::min(block, channels - first), offset, pixels, block);
  }
}

// y = f(x, a[channel], b[channel]) with b may be null.
template <class F>
HostFunction channel_function(const F& f, bool has_bias) {
  return [f, has_bias](Views src, Views dst, std::span<std::byte>) {
    const float* x = src[0].as<const float>();
    const float* a = src[1].as<const float>();
    const float* b = has_bias ? src[2].as<const float>() : nullptr;
    float* y = dst[0].as<float>();
    for_channels(src[0].desc, [&](std::int64_t first, std::int64_t count, std::int64_t offset,
                                  std::int64_t pixels, std::int64_t block) {
      if (block == 1) {
        const float factor = a[first], shift = b != nullptr ? b[first] : 0;
        for (std::int64_t p = offset; p < offset + pixels; ++p) y[p] = f(x[p], factor, shift);
        return;
      }
      for (std::int64_t p = 0; p < pixels; ++p) {
        const std::int64_t at = offset + p * block;
        for (std::int64_t c = 0; c < count; ++c) {
          y[at + c] = f(x[at + c], a[first + c], b != nullptr ? b[first + c] : 0);
        }
        for (std::int64_t c = count; c < block; ++c) y[at + c] = 0;
      }
    });
  };
}

// Whether the second operand has one value for each channel of axis 1.
bool is_per_channel(const Call& call) {
  const Shape& data = call.src[0].shape;
  return data.rank() >= 2 && call.src[1].shape == Shape{data[1]};
}

class ChannelwiseProvider final : public Provider {
 public:
  std::string name() const override { return "channelwise"; }

  void offer(const Call& call, const Cpu& cpu, std::vector<Offer>& offers) const override {
    if (!all_f32(call) || call.src.size() < 2 || !is_per_channel(call)) return;
    const auto* scale = call.op.as<Scale>();
    const auto* bias = call.op.as<Bias>();
    const auto* prelu = call.op.as<PRelu>();
    const Shape& data = call.src[0].shape;
    const bool is_scale = scale != nullptr && data.axis(scale->axis) == 1;
    const bool is_bias = bias != nullptr && data.axis(bias->axis) == 1;
    const bool is_prelu = prelu != nullptr && !prelu->shared;
    if (!is_scale && !is_bias && !is_prelu) return;
    for (const Layout layout : natural_layouts(call, cpu)) {
      Offer offer = same_layout_offer(*this, call, layout,
                                      memory_seconds(static_cast<double>(call.src[0].bytes()) * 2));
      for (std::size_t i = 1; i < offer.src.size(); ++i) offer.src[i] = Layout::plain();
      offer.in_place = true;
      offers.push_back(std::move(offer));
    }
  }

  std::unique_ptr<Kernel> compile(const Call& call, const Cpu&) const override {
    if (const auto* scale = call.op.as<Scale>()) {
      const auto affine = [](float x, float a, float b) { return a * x + b; };
      return host_kernel("channelwise scale", channel_function(affine, scale->bias));
    }
    if (call.op.as<Bias>()) {
      const auto add = [](float x, float a, float) { return x + a; };
      return host_kernel("channelwise bias", channel_function(add, false));
    }
    const auto prelu = [](float x, float a, float) { return x > 0 ? x : a * x; };
    return host_kernel("channelwise prelu", channel_function(prelu, false));
  }
};

}  // namespace

std::unique_ptr<Provider> channelwise_provider() { return std::make_unique<ChannelwiseProvider>(); }

}  // namespace maru::cpu
