#include "backends/cuda/kernels/channelwise.h"

#include <algorithm>

#include "backends/cuda/elements.h"
#include "ops/batch_norm.h"
#include "ops/bias.h"
#include "ops/prelu.h"
#include "ops/reference.h"
#include "ops/scale.h"

namespace maru::cuda {
namespace {

using Kind = ChannelwiseParams::Kind;

// Which function a call is, and how its parameters lie over the data.
struct Channelwise {
  Kind kind;
  std::string_view name;
  Extents extents;
  bool is_shared = false;
  std::size_t a = 1, b = 1, count = 1;  // operands; where there is none, any will do
  double epsilon = 0;
};

std::optional<Channelwise> channelwise_of(const Call& call) {
  const Shape& data = call.src[0].shape;
  if (const auto* scale = call.op.as<Scale>()) {
    const Extents extents = scale->covered(data, call.src[1].shape);
    return scale->bias ? Channelwise{Kind::affine, "affine", extents, false, 1, 2}
                       : Channelwise{Kind::scale, "scale", extents};
  }
  if (const auto* bias = call.op.as<Bias>()) {
    return Channelwise{Kind::bias, "bias", bias->covered(data, call.src[1].shape)};
  }
  if (const auto* prelu = call.op.as<PRelu>()) {
    return Channelwise{Kind::prelu, "prelu", extents_around(data, 1, 2), prelu->shared};
  }
  if (const auto* norm = call.op.as<BatchNorm>(); norm != nullptr && norm->takes_recorded()) {
    const Extents extents = data.rank() == 1 ? Extents{1, 1, data[0]} : extents_around(data, 1, 2);
    return Channelwise{Kind::batch_norm, "batch_norm", extents, false, 1, 2, 3, norm->epsilon};
  }
  return std::nullopt;
}

// Images by channels; other shapes are whatever channelwise_of() says.
Extents channels_of(const Shape& shape) {
  return shape.rank() == 4 ? extents_around(shape, 1, 2) : Extents{0, 0, 0};
}

bool all_constant(const Call& call) {
  return std::ranges::all_of(call.constant.begin() + 1, call.constant.end(),
                             [](bool is) { return is; });
}

// Of data and result; parameters that are states of training are f32 beside halves, too.
std::optional<DType> type_of(const Call& call) {
  const DType dtype = call.src[0].dtype;
  if (call.constant[0] || (dtype != DType::f32 && dtype != DType::f16)) return std::nullopt;
  if (call.dst[0].dtype != dtype) return std::nullopt;
  const auto is_fine = [&](const TensorDesc& desc) {
    return desc.dtype == dtype || desc.dtype == DType::f32;
  };
  if (!std::ranges::all_of(call.src.subspan(1), is_fine)) return std::nullopt;
  return dtype;
}

// Scale, Bias, PReLU and BatchNorm.
class ChannelwiseProvider final : public Provider {
 public:
  std::string name() const override { return "channelwise"; }

  void offer(const Call& call, const Runtime& runtime, std::vector<Offer>& offers) const override {
    const auto how = channelwise_of(call);
    if (!how || !type_of(call) || !is_countable(call)) return;
    const bool is_per_channel = how->extents == channels_of(call.src[0].shape);
    const double seconds = memory_seconds(runtime, static_cast<double>(call.src[0].bytes()) * 2);
    for (const Layout layout : layouts_where(call, is_per_channel)) {
      Offer offer = same_layout_offer(*this, call, layout, seconds);
      for (std::size_t i = 1; i < offer.src.size(); ++i) offer.src[i] = Layout::plain();
      offer.in_place = true;
      offer.dst_window = is_per_channel;
      // A window may then be any operand, and parameters that are data cannot be.
      offer.src_window = is_per_channel && all_constant(call);
      offers.push_back(std::move(offer));
    }
  }

  std::unique_ptr<Kernel> compile(const Call& call, const Offer&,
                                  const Runtime& runtime) const override {
    const Channelwise how = *channelwise_of(call);
    const DType dtype = *type_of(call);
    const bool is_last = call.src[0].layout.kind == Layout::Kind::channels_last;
    // Only images have windows, and only where each is a step of the outer axes.
    const bool has_images = how.extents == channels_of(call.src[0].shape);
    const std::int64_t inner = is_last ? 1 : how.extents.inner;
    const std::int64_t run = how.extents.middle * inner;
    const int vector = inner == 1 ? vector_of(dtype) : 1;
    const auto stride = [&](const TensorDesc& desc) {
      if (!has_images) return run;
      const Images images(desc);
      return is_last ? images.pixel_stride : images.image_stride;
    };

    ChannelwiseParams params{};
    params.kind = how.kind;
    params.src_stride = stride(call.src[0]);
    params.dst_stride = stride(call.dst[0]);
    params.rows = {static_cast<std::uint32_t>(how.extents.outer * (is_last ? how.extents.inner : 1)),
                   static_cast<std::uint32_t>(run), static_cast<std::uint32_t>(divide_up(run, vector))};
    params.inner = static_cast<std::uint32_t>(inner);
    params.epsilon = static_cast<float>(how.epsilon);
    params.is_shared = how.is_shared;
    const auto is_half = [&](std::size_t operand) { return call.src[operand].dtype == DType::f16; };
    params.a.is_half = is_half(how.a);
    params.b.is_half = is_half(how.b);
    params.count.is_half = is_half(how.count);
    const auto bind = [params, how,
                       size = static_cast<std::int64_t>(size_of(dtype))](const Bound& bound) {
      ChannelwiseParams bound_params = params;
      bound_params.src = bound.src(0);
      bound_params.dst = bound.dst(0);
      bound_params.is_aligned = is_aligned(bound_params.src, params.src_stride * size) &&
                                is_aligned(bound_params.dst, params.dst_stride * size);
      const auto operand = [&](ChannelOperand& to, std::size_t index) {
        to.at = bound.src(index);
        to.is_aligned = is_aligned(to.at, 0);
      };
      operand(bound_params.a, how.a);
      operand(bound_params.b, how.b);
      operand(bound_params.count, how.count);
      return bound_params;
    };
    return std::make_unique<CudaKernel>(
        runtime, fmt::format("channelwise {}", how.name),
        std::vector{spread(runtime,
                           function_of(inner == 1 ? "channelwise" : "channelwise_plain", dtype),
                           params.rows, bind)});
  }
};

}  // namespace

std::unique_ptr<Provider> channelwise_provider() { return std::make_unique<ChannelwiseProvider>(); }

}  // namespace maru::cuda
