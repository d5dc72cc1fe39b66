// Gradients of fully connected layers, by oneDNN.
#include "backends/cpu/onednn.h"
#include "ops/inner_product_grad.h"

namespace maru::cpu {
namespace {

using Tag = dnnl::memory::format_tag;

// The layer's matrices: rows x K data, outputs x K weight, rows x outputs result.
struct Matrices {
  std::int64_t rows, length, outputs;
  bool transpose;

  dnnl::memory::desc data() const { return memory_desc(Shape{rows, length}, Tag::ab); }
  dnnl::memory::desc result() const { return memory_desc(Shape{rows, outputs}, Tag::ab); }
  dnnl::memory::desc weight() const {
    return memory_desc(Shape{outputs, length}, transpose ? Tag::ba : Tag::ab);
  }
};

std::optional<Matrices> matrices_of(const Call& call) {
  const bool by_data = call.op.as<InnerProductGradData>() != nullptr;
  const auto* by_weight = call.op.as<InnerProductGradWeight>();
  if (!by_data && by_weight == nullptr) return std::nullopt;
  const Shape& result = call.src[by_data ? 0 : 1].shape;
  const std::int64_t outputs = result[result.rank() - 1];
  const std::int64_t rows = result.count(0, result.rank() - 1);
  if (outputs == 0 || rows == 0) return std::nullopt;
  const std::int64_t count = by_data ? call.dst[0].count() : call.src[0].count();
  return Matrices{rows, count / rows, outputs,
                  by_data ? call.op.as<InnerProductGradData>()->transpose : by_weight->transpose};
}

class InnerProductTrainingProvider final : public Provider {
 public:
  std::string name() const override { return "oneDNN inner product in training"; }

  void offer(const Call& call, const Cpu& cpu, std::vector<Offer>& offers) const override {
    if (!all_f32(call)) return;
    const std::optional<Matrices> m = matrices_of(call);
    if (!m) return;
    constexpr double kRate = 60e9;
    const double flops = 2.0 * static_cast<double>(m->rows) * static_cast<double>(m->length) *
                         static_cast<double>(m->outputs);
    offers.push_back(same_layout_offer(
        *this, call, Layout::plain(),
        compute_seconds(cpu, flops, kRate) +
            memory_seconds(4 * static_cast<double>(m->length) * static_cast<double>(m->outputs))));
  }

  std::unique_ptr<Kernel> compile(const Call& call, const Cpu&) const override {
    const Matrices m = *matrices_of(call);
    const auto hint = describe<dnnl::inner_product_forward>(
        attributes(std::nullopt), dnnl::prop_kind::forward_training, m.data(), m.weight(),
        dnnl::memory::desc(), m.result());
    if (call.op.as<InnerProductGradData>() != nullptr) {
      const auto pd = describe_backward<dnnl::inner_product_backward_data>(
          attributes(std::nullopt), hint, m.data(), m.weight(), m.result());
      return std::make_unique<OnednnKernel>(
          dnnl::inner_product_backward_data(pd), pd.impl_info_str(), workspace_of(pd),
          std::vector<Argument>{{DNNL_ARG_DIFF_DST, false, 0, m.result()},
                                {DNNL_ARG_WEIGHTS, false, 1, m.weight()},
                                {DNNL_ARG_DIFF_SRC, true, 0, m.data()}});
    }
    const auto pd = describe_backward<dnnl::inner_product_backward_weights>(
        attributes(std::nullopt), hint, m.data(), m.weight(), m.result());
    return std::make_unique<OnednnKernel>(
        dnnl::inner_product_backward_weights(pd), pd.impl_info_str(), workspace_of(pd),
        std::vector<Argument>{{DNNL_ARG_SRC, false, 0, m.data()},
                              {DNNL_ARG_DIFF_DST, false, 1, m.result()},
                              {DNNL_ARG_DIFF_WEIGHTS, true, 0, m.weight()}});
  }
};

}  // namespace

std::unique_ptr<Provider> inner_product_training_provider() {
  return std::make_unique<InnerProductTrainingProvider>();
}

}  // namespace maru::cpu
