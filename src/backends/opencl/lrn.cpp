#include "ops/lrn.h"

#include "backends/opencl/provider.h"

namespace maru::opencl {
namespace {

class LrnProvider final : public Provider {
 public:
  std::string name() const override { return "lrn.cl"; }

  void offer(const Call& call, const Runtime& runtime, std::vector<Offer>& offers) const override {
    const auto* lrn = call.op.as<Lrn>();
    if (lrn == nullptr || !has_floats(call, runtime)) return;
    for (const Layout layout : natural_layouts(call, runtime)) {
      const bool is_across = lrn->region == Lrn::Region::across;
      if (is_across && layout.block > 1 && lrn->size / 2 > layout.block) continue;
      Offer offer = same_layout_offer(*this, call, layout,
                                      memory_seconds(static_cast<double>(call.src[0].bytes()) * 4));
      offer.src_window = offer.dst_window = true;
      offers.push_back(std::move(offer));
    }
  }

  std::unique_ptr<Kernel> compile(const Call& call, const Runtime& runtime) const override {
    const Lrn& lrn = *call.op.as<Lrn>();
    const bool is_across = lrn.region == Lrn::Region::across;
    const auto terms = static_cast<double>(is_across ? lrn.size : lrn.size * lrn.size);
    const Images from(call.src[0]), to(call.dst[0]);
    const std::string options =
        fmt::format("{} -DSIZE={} -DPOWER=POWER_{}{}", block_option(call.src[0].layout), lrn.size,
                    lrn.beta == 0.75 ? "three_quarters" : "any", is_across ? " -DACROSS" : "") +
        half_option(call);
    const Shape& shape = call.src[0].shape;
    return std::make_unique<OpenclKernel>(
        fmt::format("lrn.cl {}", to_string(lrn.region)),
        std::vector{
            stage(runtime.program("lrn", options), "lrn", from.pixels, from.blocks, from.count,
                  {src(0), dst(0), from.stride, to.stride, static_cast<cl_int>(shape[2]),
                   static_cast<cl_int>(shape[3]), static_cast<cl_int>(shape[1]),
                   static_cast<cl_float>(is_across ? lrn.k : 1),
                   static_cast<cl_float>(lrn.alpha / terms), static_cast<cl_float>(lrn.beta)})});
  }
};

}  // namespace

std::unique_ptr<Provider> lrn_provider() { return std::make_unique<LrnProvider>(); }

}  // namespace maru::opencl
