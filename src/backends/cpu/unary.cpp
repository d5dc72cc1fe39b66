#include "ops/unary.h"

#include "backends/cpu/onednn.h"

namespace maru::cpu {
namespace {

class UnaryProvider final : public Provider {
 public:
  std::string name() const override { return "oneDNN eltwise"; }

  void offer(const Call& call, const Cpu& cpu, std::vector<Offer>& offers) const override {
    const auto* unary = call.op.as<Unary>();
    if (unary == nullptr || !all_f32(call) || !onednn_eltwise(*unary)) return;
    for (const Layout layout : natural_layouts(call, cpu)) {
      Offer offer = same_layout_offer(*this, call, layout,
                                      memory_seconds(static_cast<double>(call.src[0].bytes()) * 2));
      offer.src_window = offer.dst_window = true;
      offer.in_place = true;
      offers.push_back(std::move(offer));
    }
  }

  std::unique_ptr<Kernel> compile(const Call& call, const Cpu&) const override {
    const EltwiseSpec eltwise = *onednn_eltwise(*call.op.as<Unary>());
    const ImageLoop loop(call);
    const auto src = memory_desc(loop.image(call.src[0]));
    const auto pd = [&] {
      constexpr auto kInference = dnnl::prop_kind::forward_inference;
#if DNNL_VERSION_MAJOR >= 3
      return describe<dnnl::eltwise_forward>(attributes(std::nullopt), kInference, eltwise.algorithm,
                                             src, src, eltwise.alpha, eltwise.beta);
#else
      return describe<dnnl::eltwise_forward>(attributes(std::nullopt), kInference, eltwise.algorithm,
                                             src, eltwise.alpha, eltwise.beta);
#endif
    }();
    return std::make_unique<OnednnKernel>(
        dnnl::eltwise_forward(pd), pd.impl_info_str(), workspace_of(pd),
        std::vector{loop.argument(DNNL_ARG_SRC, false, 0, call.src[0]),
                    loop.argument(DNNL_ARG_DST, true, 0, call.dst[0])},
        loop.images());
  }
};

}  // namespace

std::unique_ptr<Provider> unary_provider() { return std::make_unique<UnaryProvider>(); }

}  // namespace maru::cpu
