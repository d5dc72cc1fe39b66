#include "ops/softmax.h"

#include "backends/cuda/elements.h"
#include "backends/cuda/kernels/softmax.h"
#include "ops/reference.h"

namespace maru::cuda {
namespace {

bool is_real(DType dtype) { return dtype == DType::f32 || dtype == DType::f16; }

class SoftmaxProvider final : public Provider {
 public:
  std::string name() const override { return "softmax"; }

  void offer(const Call& call, const Runtime& runtime, std::vector<Offer>& offers) const override {
    const auto* softmax = call.op.as<Softmax>();
    if (softmax == nullptr || !is_countable(call)) return;
    const DType from = call.src[0].dtype, to = call.dst[0].dtype;
    if (!is_real(from) || (to != from && to != DType::f32)) return;
    const double seconds = memory_seconds(runtime, static_cast<double>(call.src[0].bytes()) * 2);
    const bool is_of_channels = call.src[0].shape.axis(softmax->axis) == 1;
    for (const Layout layout : layouts_where(call, is_of_channels)) {
      offers.push_back(same_layout_offer(*this, call, layout, seconds));
      offers.back().in_place = from == to;
    }
  }

  std::unique_ptr<Kernel> compile(const Call& call, const Offer&,
                                  const Runtime& runtime) const override {
    const TensorDesc& src = call.src[0];
    const std::size_t axis = src.shape.axis(call.op.as<Softmax>()->axis);
    Extents extents = extents_around(src.shape, axis, axis + 1);
    if (src.layout.kind == Layout::Kind::channels_last) {
      extents = {extents.outer * extents.inner, extents.middle, 1};
    }
    SoftmaxParams params{};
    params.rows = static_cast<std::uint32_t>(extents.outer * extents.inner);
    params.middle = static_cast<std::uint32_t>(extents.middle);
    params.inner = static_cast<std::uint32_t>(extents.inner);
    const auto bind = [params](const Bound& bound) {
      return SoftmaxParams{bound.src(0), bound.dst(0), params.rows, params.middle, params.inner};
    };
    // A block is worth it where a row has something to do for its threads.
    constexpr std::uint32_t kLongRow = 32;
    const bool is_long = params.middle >= kLongRow;
    std::string function = is_long ? "softmax" : "softmax_short";
    if (call.dst[0].dtype != src.dtype) function += "_wide";
    function = function_of(function, src.dtype);
    return std::make_unique<CudaKernel>(
        runtime, is_long ? "softmax rows" : "softmax short rows",
        std::vector{is_long ? stage(function, {params.rows, 1, 1}, {kSoftmaxThreads, 1, 1}, bind)
                            : spread(runtime, function, std::int64_t{params.rows}, bind)});
  }
};

}  // namespace

std::unique_ptr<Provider> softmax_provider() { return std::make_unique<SoftmaxProvider>(); }

}  // namespace maru::cuda
