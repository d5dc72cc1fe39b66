#include "ops/batch_norm.h"

#include <algorithm>

#include "backends/cpu/onednn.h"

namespace maru::cpu {
namespace {

// Caffe keeps sums and the factor by which to divide them; oneDNN wants the quotients, which are
// computed when memory is bound.
class BatchNormKernel final : public OnednnKernel {
 public:
  using OnednnKernel::OnednnKernel;

  std::unique_ptr<Launch> bind(std::span<const Tensor> src, std::span<const Tensor> dst,
                               const Tensor& workspace) const override {
    struct Quotients final : Launch {
      explicit Quotients(const HostHeap& heap, std::size_t bytes)
          : mean(heap.allocate(bytes, "batch normalisation")),
            variance(heap.allocate(bytes, "batch normalisation")) {}
      void run(Queue& queue) override { inner->run(queue); }
      Buffer mean, variance;
      std::unique_ptr<Launch> inner;
    };
    static const HostHeap heap;
    auto launch = std::make_unique<Quotients>(heap, src[1].desc.bytes());
    const float factor = *view(src[3]).as<const float>();
    const float inverse = factor == 0 ? 0 : 1 / factor;
    const auto divide = [&](const Tensor& sums, const Buffer& quotients) {
      const float* from = view(sums).as<const float>();
      std::transform(from, from + sums.desc.count(), static_cast<float*>(quotients.native()),
                     [&](float sum) { return sum * inverse; });
    };
    divide(src[1], launch->mean);
    divide(src[2], launch->variance);
    const Tensor divided[] = {
        src[0], {src[1].desc, &launch->mean, 0}, {src[2].desc, &launch->variance, 0}};
    launch->inner = OnednnKernel::bind(divided, dst, workspace);
    return launch;
  }
};

class BatchNormProvider final : public Provider {
 public:
  std::string name() const override { return "oneDNN batch normalisation"; }

  void offer(const Call& call, const Cpu& cpu, std::vector<Offer>& offers) const override {
    const auto* norm = call.op.as<BatchNorm>();
    if (norm == nullptr || !norm->takes_recorded() || !all_f32(call)) return;
    if (call.src[0].shape.rank() != 4) return;
    if (!call.constant[1] || !call.constant[2] || !call.constant[3]) return;
    for (const Layout layout : natural_layouts(call, cpu)) {
      // oneDNN reads mean and variance of whole blocks.
      if (call.src[0].shape[1] % layout.block != 0) continue;
      Offer offer = same_layout_offer(*this, call, layout,
                                      memory_seconds(static_cast<double>(call.src[0].bytes()) * 2));
      offer.in_place = true;
      offers.push_back(std::move(offer));
    }
  }

  std::unique_ptr<Kernel> compile(const Call& call, const Cpu&) const override {
    const auto src = memory_desc(call.src[0]);
    const auto epsilon = static_cast<float>(call.op.as<BatchNorm>()->epsilon);
    const auto pd = [&] {
      constexpr auto kInference = dnnl::prop_kind::forward_inference;
      constexpr auto kFlags = dnnl::normalization_flags::use_global_stats;
#if DNNL_VERSION_MAJOR >= 3
      return describe<dnnl::batch_normalization_forward>(attributes(std::nullopt), kInference, src, src,
                                                         epsilon, kFlags);
#else
      return describe<dnnl::batch_normalization_forward>(attributes(std::nullopt), kInference, src,
                                                         epsilon, kFlags);
#endif
    }();
    const auto channels = memory_desc(call.src[1].shape, dnnl::memory::format_tag::a);
    return std::make_unique<BatchNormKernel>(
        dnnl::batch_normalization_forward(pd), pd.impl_info_str(), workspace_of(pd),
        std::vector<Argument>{{DNNL_ARG_SRC, false, 0, src},
                              {DNNL_ARG_MEAN, false, 1, channels},
                              {DNNL_ARG_VARIANCE, false, 2, channels},
                              {DNNL_ARG_DST, true, 0, src}});
  }
};

}  // namespace

std::unique_ptr<Provider> batch_norm_provider() { return std::make_unique<BatchNormProvider>(); }

}  // namespace maru::cpu
