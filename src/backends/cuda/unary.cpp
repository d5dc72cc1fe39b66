#include "backends/cuda/kernels/unary.h"

#include "backends/cuda/activation.h"
#include "backends/cuda/elements.h"
#include "ops/unary.h"

namespace maru::cuda {
namespace {

class UnaryProvider final : public Provider {
 public:
  std::string name() const override { return "unary"; }

  void offer(const Call& call, const Runtime& runtime, std::vector<Offer>& offers) const override {
    if (call.op.as<Unary>() == nullptr || !data_type(call) || !is_countable(call)) return;
    const double seconds = memory_seconds(runtime, static_cast<double>(call.src[0].bytes()) * 2);
    for (const Layout layout : natural_layouts(call)) {
      Offer offer = same_layout_offer(*this, call, layout, seconds);
      offer.src_window = offer.dst_window = offer.in_place = true;
      offers.push_back(std::move(offer));
    }
  }

  std::unique_ptr<Kernel> compile(const Call& call, const Offer&,
                                  const Runtime& runtime) const override {
    const Unary& unary = *call.op.as<Unary>();
    const DType dtype = *data_type(call);
    const TensorDesc tensors[] = {call.src[0], call.dst[0]};
    const Rows rows = rows_of(tensors, vector_of(dtype));
    const std::int64_t src_stride = row_stride(tensors[0], rows),
                       dst_stride = row_stride(tensors[1], rows);
    const auto size = static_cast<std::int64_t>(size_of(dtype));
    return std::make_unique<CudaKernel>(
        runtime, fmt::format("unary {}", to_string(unary.kind)),
        std::vector{spread(runtime, function_of("unary", dtype), rows,
                           [=, activation = activation_of(unary)](const Bound& bound) {
                             const void* src = bound.src(0);
                             void* dst = bound.dst(0);
                             const bool aligned = is_aligned(src, src_stride * size) &&
                                                  is_aligned(dst, dst_stride * size);
                             return UnaryParams{src,  dst,     src_stride, dst_stride,
                                                rows, aligned, activation};
                           })});
  }
};

}  // namespace

std::unique_ptr<Provider> unary_provider() { return std::make_unique<UnaryProvider>(); }

}  // namespace maru::cuda
