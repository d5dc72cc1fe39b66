#include "ops/lrn.h"

#include "backends/cpu/onednn.h"

namespace maru::cpu {
namespace {

class LrnProvider final : public Provider {
 public:
  std::string name() const override { return "oneDNN LRN"; }

  // Within a channel oneDNN has its reference kernel alone; ours is as good.
  void offer(const Call& call, const Cpu& cpu, std::vector<Offer>& offers) const override {
    const auto* lrn = call.op.as<Lrn>();
    if (lrn == nullptr || !all_f32(call) || lrn->region != Lrn::Region::across) return;
    for (const Layout layout : natural_layouts(call, cpu)) {
      Offer offer = same_layout_offer(*this, call, layout,
                                      memory_seconds(static_cast<double>(call.src[0].bytes()) * 4));
      offer.src_window = offer.dst_window = true;
      offers.push_back(std::move(offer));
    }
  }

  std::unique_ptr<Kernel> compile(const Call& call, const Cpu&) const override {
    const Lrn& lrn = *call.op.as<Lrn>();
    const ImageLoop loop(call);
    const auto src = memory_desc(loop.image(call.src[0]));
    const auto alpha = static_cast<float>(lrn.alpha), beta = static_cast<float>(lrn.beta),
               k = static_cast<float>(lrn.k);
    const auto pd = [&] {
      constexpr auto kInference = dnnl::prop_kind::forward_inference;
      constexpr auto kAcross = dnnl::algorithm::lrn_across_channels;
#if DNNL_VERSION_MAJOR >= 3
      return describe<dnnl::lrn_forward>(attributes(std::nullopt), kInference, kAcross, src, src,
                                         lrn.size, alpha, beta, k);
#else
      return describe<dnnl::lrn_forward>(attributes(std::nullopt), kInference, kAcross, src, lrn.size,
                                         alpha, beta, k);
#endif
    }();
    return std::make_unique<OnednnKernel>(
        dnnl::lrn_forward(pd), pd.impl_info_str(), workspace_of(pd),
        std::vector{loop.argument(DNNL_ARG_SRC, false, 0, call.src[0]),
                    loop.argument(DNNL_ARG_DST, true, 0, call.dst[0])},
        loop.images());
  }
};

}  // namespace

std::unique_ptr<Provider> lrn_provider() { return std::make_unique<LrnProvider>(); }

}  // namespace maru::cpu
