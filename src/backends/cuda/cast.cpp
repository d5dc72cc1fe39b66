#include "ops/cast.h"

#include "backends/cuda/elements.h"
#include "backends/cuda/kernels/cast.h"

namespace maru::cuda {
namespace {

bool is_between_reals(const Call& call) {
  const DType from = call.src[0].dtype, to = call.dst[0].dtype;
  return (from == DType::f32 && to == DType::f16) || (from == DType::f16 && to == DType::f32);
}

class CastProvider final : public Provider {
 public:
  std::string name() const override { return "cast"; }

  void offer(const Call& call, const Runtime& runtime, std::vector<Offer>& offers) const override {
    if (call.op.as<Cast>() == nullptr || !is_between_reals(call) || !is_countable(call)) return;
    const auto bytes = static_cast<double>(call.src[0].bytes() + call.dst[0].bytes());
    for (const Layout layout : natural_layouts(call)) {
      Offer offer = same_layout_offer(*this, call, layout, memory_seconds(runtime, bytes));
      offer.src_window = offer.dst_window = true;
      offers.push_back(std::move(offer));
    }
  }

  std::unique_ptr<Kernel> compile(const Call& call, const Offer&,
                                  const Runtime& runtime) const override {
    const TensorDesc tensors[] = {call.src[0], call.dst[0]};
    const Rows rows = rows_of(tensors, kCastVector);
    const std::int64_t src_stride = row_stride(tensors[0], rows),
                       dst_stride = row_stride(tensors[1], rows);
    const auto src_size = static_cast<std::int64_t>(size_of(tensors[0].dtype));
    const auto dst_size = static_cast<std::int64_t>(size_of(tensors[1].dtype));
    return std::make_unique<CudaKernel>(
        runtime, fmt::format("cast {}", to_string(tensors[1].dtype)),
        std::vector{
            spread(runtime, function_of("cast", tensors[1].dtype), rows, [=](const Bound& bound) {
              const void* src = bound.src(0);
              void* dst = bound.dst(0);
              const bool aligned =
                  is_aligned(src, src_stride * src_size) && is_aligned(dst, dst_stride * dst_size);
              return CastParams{src, dst, src_stride, dst_stride, rows, aligned};
            })});
  }
};

}  // namespace

std::unique_ptr<Provider> cast_provider() { return std::make_unique<CastProvider>(); }

}  // namespace maru::cuda
