#include "ops/inner_product.h"

#include "backends/cpu/onednn.h"

namespace maru::cpu {
namespace {

using Tag = dnnl::memory::format_tag;

// The data as rows of K elements.
Shape rows_of(const InnerProduct& ip, const Shape& src) {
  const std::size_t axis = src.axis(ip.axis);
  return {src.count(0, axis), src.count(axis, src.rank())};
}

class InnerProductKernel final : public OnednnKernel {
 public:
  InnerProductKernel(bool transpose, Shape weight,
                     const dnnl::inner_product_forward::primitive_desc& pd,
                     std::vector<Argument> arguments)
      : OnednnKernel(dnnl::inner_product_forward(pd), pd.impl_info_str(), workspace_of(pd),
                     std::move(arguments)),
        transpose_(transpose),
        weight_(weight) {}

 protected:
  dnnl::memory::desc source_desc(std::size_t operand, const Constant& constant) const override {
    if (operand != 1) return OnednnKernel::source_desc(operand, constant);
    if (weight_.rank() == 4) return memory_desc(weight_, Tag::abcd);
    return memory_desc(weight_, transpose_ ? Tag::ba : Tag::ab);
  }

 private:
  bool transpose_;
  Shape weight_;
};

class InnerProductProvider final : public Provider {
 public:
  std::string name() const override { return "oneDNN inner product"; }

  void offer(const Call& call, const Cpu& cpu, std::vector<Offer>& offers) const override {
    const auto* ip = call.op.as<InnerProduct>();
    if (ip == nullptr || !all_f32(call)) return;
    if (ip->activation && !onednn_eltwise(*ip->activation)) return;
    const auto weight_bytes = static_cast<double>(call.src[1].bytes());
    const double seconds = memory_seconds(weight_bytes);
    offers.push_back(same_layout_offer(*this, call, Layout::plain(), seconds));
    // Weights that change from run to run are used as they stand.
    if (call.constant[1] && takes_blocked(*ip, call.src[0].shape, cpu)) {
      offers.push_back(same_layout_offer(*this, call, Layout::plain(), seconds));
      offers.back().src[0] = Layout::blocked(cpu.block);
    }
  }

  std::unique_ptr<Kernel> compile(const Call& call, const Cpu&) const override {
    const InnerProduct& ip = *call.op.as<InnerProduct>();
    const TensorDesc& data = call.src[0];
    const bool is_blocked = data.layout.kind == Layout::Kind::blocked;
    const Shape rows = rows_of(ip, data.shape);
    const Shape weight = is_blocked ? Shape{ip.outputs, data.shape[1], data.shape[2], data.shape[3]}
                                    : Shape{ip.outputs, rows[1]};
    const auto src = is_blocked ? memory_desc(data) : memory_desc(rows, Tag::ab);
    const auto dst = memory_desc(Shape{rows[0], ip.outputs}, Tag::ab);
    const auto bias = ip.bias ? memory_desc(call.src[2].shape, Tag::a) : dnnl::memory::desc();
    // A matrix that is used as it stands need not be packed; large ones gain nothing from it.
    const Tag weight_tag = is_blocked ? Tag::any : (ip.transpose ? Tag::ba : Tag::ab);
    const auto pd = describe<dnnl::inner_product_forward>(attributes(ip.activation),
                                                          dnnl::prop_kind::forward_inference, src,
                                                          memory_desc(weight, weight_tag), bias, dst);
    std::vector<Argument> arguments{{DNNL_ARG_SRC, false, 0, src},
                                    {DNNL_ARG_WEIGHTS, false, 1, pd.weights_desc()},
                                    {DNNL_ARG_DST, true, 0, dst}};
    if (ip.bias) arguments.push_back({DNNL_ARG_BIAS, false, 2, bias});
    return std::make_unique<InnerProductKernel>(ip.transpose, weight, pd, std::move(arguments));
  }

 private:
  // Weights can follow the layout of an image, so that the image need not be reordered.
  static bool takes_blocked(const InnerProduct& ip, const Shape& src, const Cpu& cpu) {
    return cpu.block > 1 && src.rank() == 4 && src.axis(ip.axis) == 1 && !ip.transpose &&
           src[1] % cpu.block == 0;
  }
};

}  // namespace

std::unique_ptr<Provider> inner_product_provider() { return std::make_unique<InnerProductProvider>(); }

}  // namespace maru::cpu
