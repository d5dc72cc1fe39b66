#include "ops/eltwise.h"

#include "backends/opencl/activation.h"
#include "backends/opencl/provider.h"

namespace maru::opencl {
namespace {

// Two operands at once; more of them one after the other onto the result.
class EltwiseProvider final : public Provider {
 public:
  std::string name() const override { return "eltwise.cl"; }

  void offer(const Call& call, const Runtime& runtime, std::vector<Offer>& offers) const override {
    if (call.op.as<Eltwise>() == nullptr || !has_floats(call, runtime)) return;
    if (is_half(call) && call.src.size() > 2) return;  // what is between would be rounded to halves
    for (const Layout layout : natural_layouts(call, runtime)) {
      const double bytes = static_cast<double>(call.src[0].bytes() * 3 * (call.src.size() - 1));
      Offer offer = same_layout_offer(*this, call, layout, memory_seconds(bytes));
      offer.src_window = offer.dst_window = offer.in_place = true;
      offers.push_back(std::move(offer));
    }
  }

  std::unique_ptr<Kernel> compile(const Call& call, const Runtime& runtime) const override {
    const Eltwise& eltwise = *call.op.as<Eltwise>();
    const auto factor = [&](std::size_t i) {
      return static_cast<cl_float>(eltwise.coefficients.empty() ? 1 : eltwise.coefficients[i]);
    };
    const Images to(call.dst[0]);
    const bool has_padding = to.channels % call.dst[0].layout.block != 0;
    // No function at all is a power of 1.
    const Activation none(Unary{Unary::Kind::power, 1});
    std::vector<Stage> stages;
    for (std::size_t i = 1; i < call.src.size(); ++i) {
      const bool is_first = i == 1, is_last = i + 1 == call.src.size();
      const Activation activation =
          is_last && eltwise.activation ? Activation(*eltwise.activation) : none;
      std::string options =
          fmt::format("-DCOMBINE=COMBINE_{} {}", to_string(eltwise.kind),
                      is_last && eltwise.activation ? activation.option : "-DACTIVATION=ACTIVATE_none");
      if (has_padding && !activation.keeps_zero) options += " -DMASKED";
      options += half_option(call);
      const Images a(is_first ? call.src[0] : call.dst[0]), b(call.src[i]);
      stages.push_back(stage(runtime.program("eltwise", options), "eltwise",
                             (to.run + runtime.block - 1) / runtime.block, 1, to.count,
                             {is_first ? src(0) : dst(0), src(i), dst(0), a.stride, b.stride, to.stride,
                              static_cast<cl_ulong>(to.run), is_first ? factor(0) : 1, factor(i),
                              activation.alpha, activation.scale, activation.shift,
                              static_cast<cl_uint>(to.pixels), static_cast<cl_uint>(to.channels)}));
    }
    return std::make_unique<OpenclKernel>(fmt::format("eltwise.cl {}", to_string(eltwise.kind)),
                                          std::move(stages));
  }
};

}  // namespace

std::unique_ptr<Provider> eltwise_provider() { return std::make_unique<EltwiseProvider>(); }

}  // namespace maru::opencl
