#include "ops/lrn.h"

#include "backends/cuda/pool_lrn_params.h"

namespace maru::cuda {

LrnTerms terms_of(const Lrn& lrn) {
  const bool is_across = lrn.region == Lrn::Region::across;
  const auto count = static_cast<double>(is_across ? lrn.size : lrn.size * lrn.size);
  return {static_cast<std::int32_t>(lrn.size), static_cast<float>(is_across ? lrn.k : 1),
          static_cast<float>(lrn.alpha / count), static_cast<float>(lrn.beta), is_across};
}

namespace {

class LrnProvider final : public Provider {
 public:
  std::string name() const override { return "lrn"; }

  void offer(const Call& call, const Runtime& runtime, std::vector<Offer>& offers) const override {
    if (call.op.as<Lrn>() == nullptr || !data_type(call) || !is_countable(call)) return;
    const double seconds = memory_seconds(runtime, static_cast<double>(call.src[0].bytes()) * 2);
    for (const Layout layout : natural_layouts(call)) {
      Offer offer = same_layout_offer(*this, call, layout, seconds);
      offer.src_window = offer.dst_window = true;
      offers.push_back(std::move(offer));
    }
  }

  std::unique_ptr<Kernel> compile(const Call& call, const Offer&,
                                  const Runtime& runtime) const override {
    const Lrn& lrn = *call.op.as<Lrn>();
    const DType dtype = *data_type(call);
    const Images images(call.src[0]);
    const bool is_plain = call.src[0].layout.kind == Layout::Kind::plain;
    const Shape& shape = call.src[0].shape;
    LrnParams params{};
    params.src_strides = strides_of(call.src[0]);
    params.dst_strides = strides_of(call.dst[0]);
    params.images = static_cast<std::uint32_t>(images.count);
    params.channels = static_cast<std::uint32_t>(images.channels);
    params.height = static_cast<std::int32_t>(shape[2]);
    params.width = static_cast<std::int32_t>(shape[3]);
    params.terms = terms_of(lrn);
    const std::int64_t vectors = divide_up(images.channels, is_plain ? 1 : vector_of(dtype));
    return std::make_unique<CudaKernel>(
        runtime, fmt::format("lrn {}", to_string(lrn.region)),
        std::vector{spread(runtime, function_of(is_plain ? "lrn_plain" : "lrn", dtype),
                           images.count * images.pixels * vectors, [params, dtype](const Bound& bound) {
                             LrnParams bound_params = params;
                             bind_images(bound_params, bound, dtype);
                             return bound_params;
                           })});
  }
};

}  // namespace

std::unique_ptr<Provider> lrn_provider() { return std::make_unique<LrnProvider>(); }

}  // namespace maru::cuda
