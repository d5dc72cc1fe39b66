#include "ops/dropout.h"

#include <cmath>

#include "backends/cuda/elements.h"
#include "backends/cuda/kernels/dropout.h"

namespace maru::cuda {
namespace {

class DropoutProvider final : public Provider {
 public:
  std::string name() const override { return "dropout"; }

  // The step is f32 also where data is f16, which could not count it.
  void offer(const Call& call, const Runtime& runtime, std::vector<Offer>& offers) const override {
    if (call.op.as<Dropout>() == nullptr || !is_countable(call)) return;
    const DType dtype = call.src[0].dtype;
    if ((dtype != DType::f32 && dtype != DType::f16) || call.dst[0].dtype != dtype ||
        call.src[1].dtype != DType::f32 || call.constant[0])
      return;
    const double seconds = memory_seconds(runtime, static_cast<double>(call.src[0].bytes()) * 2);
    for (const Layout layout : natural_layouts(call)) {
      Offer offer = same_layout_offer(*this, call, layout, seconds);
      offer.src[1] = Layout::plain();
      offer.src_window = offer.dst_window = offer.in_place = true;
      offers.push_back(std::move(offer));
    }
  }

  std::unique_ptr<Kernel> compile(const Call& call, const Offer&,
                                  const Runtime& runtime) const override {
    const Dropout& dropout = *call.op.as<Dropout>();
    const DType dtype = call.src[0].dtype;
    const TensorDesc tensors[] = {call.src[0], call.dst[0]};
    const Images images(tensors[0]);
    DropoutParams params{};
    params.rows = rows_of(tensors, vector_of(dtype));
    params.src_stride = row_stride(tensors[0], params.rows);
    params.dst_stride = row_stride(tensors[1], params.rows);
    params.src_strides = strides_of(tensors[0]);
    params.dst_strides = strides_of(tensors[1]);
    params.images = static_cast<std::uint32_t>(images.count);
    params.channels = static_cast<std::uint32_t>(images.channels);
    params.pixels = static_cast<std::uint32_t>(images.pixels);
    params.terms = terms_of(dropout);
    params.first = static_cast<std::uint64_t>(dropout.first);
    const bool is_plain = tensors[0].layout.kind == Layout::Kind::plain;
    const auto bind = [params, is_plain,
                       size = static_cast<std::int64_t>(size_of(dtype))](const Bound& bound) {
      DropoutParams bound_params = params;
      bound_params.src = bound.src(0);
      bound_params.step = bound.src<float>(1);
      bound_params.dst = bound.dst(0);
      const std::int64_t src_step = is_plain ? params.src_stride : params.src_strides.pixel;
      const std::int64_t dst_step = is_plain ? params.dst_stride : params.dst_strides.pixel;
      bound_params.is_aligned = is_aligned(bound_params.src, src_step * size) &&
                                is_aligned(bound_params.dst, dst_step * size);
      return bound_params;
    };
    const std::int64_t vectors = divide_up(images.channels, vector_of(dtype));
    return std::make_unique<CudaKernel>(
        runtime, "dropout",
        std::vector{is_plain ? spread(runtime, function_of("dropout_plain", dtype), params.rows, bind)
                             : spread(runtime, function_of("dropout", dtype),
                                      images.count * images.pixels * vectors, bind)});
  }

 private:
  static DropoutTerms terms_of(const Dropout& dropout) {
    constexpr double kRange = 4294967296.0;
    return {static_cast<std::uint64_t>(dropout.seed),
            static_cast<std::uint64_t>(std::ceil(dropout.ratio * kRange)),
            static_cast<float>(1 / (1 - dropout.ratio))};
  }
};

}  // namespace

std::unique_ptr<Provider> dropout_provider() { return std::make_unique<DropoutProvider>(); }

}  // namespace maru::cuda
