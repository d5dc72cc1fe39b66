#include "ops/softmax.h"

#include "backends/cpu/onednn.h"

namespace maru::cpu {
namespace {

class SoftmaxProvider final : public Provider {
 public:
  std::string name() const override { return "oneDNN softmax"; }

  void offer(const Call& call, const Cpu&, std::vector<Offer>& offers) const override {
    if (call.op.as<Softmax>() == nullptr || !all_f32(call)) return;
    offers.push_back(same_layout_offer(*this, call, Layout::plain(),
                                       memory_seconds(static_cast<double>(call.src[0].bytes()) * 4)));
    offers.back().in_place = true;
  }

  std::unique_ptr<Kernel> compile(const Call& call, const Cpu&) const override {
    const Shape& shape = call.src[0].shape;
    const std::size_t axis = shape.axis(call.op.as<Softmax>()->axis);
    // Any softmax is one along the middle of three axes.
    const auto desc =
        memory_desc(Shape{shape.count(0, axis), shape[axis], shape.count(axis + 1, shape.rank())},
                    dnnl::memory::format_tag::abc);
    const auto pd = [&] {
      constexpr auto kInference = dnnl::prop_kind::forward_inference;
#if DNNL_VERSION_MAJOR >= 3
      return describe<dnnl::softmax_forward>(attributes(std::nullopt), kInference,
                                             dnnl::algorithm::softmax_accurate, desc, desc, 1);
#else
      return describe<dnnl::softmax_forward>(attributes(std::nullopt), kInference, desc, 1);
#endif
    }();
    return std::make_unique<OnednnKernel>(
        dnnl::softmax_forward(pd), pd.impl_info_str(), workspace_of(pd),
        std::vector<Argument>{{DNNL_ARG_SRC, false, 0, desc}, {DNNL_ARG_DST, true, 0, desc}});
  }
};

}  // namespace

std::unique_ptr<Provider> softmax_provider() { return std::make_unique<SoftmaxProvider>(); }

}  // namespace maru::cpu
