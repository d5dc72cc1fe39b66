#include "ops/unary.h"

#include <cmath>

#include "backends/opencl/activation.h"
#include "backends/opencl/provider.h"

namespace maru::opencl {

Activation::Activation(const Unary& unary)
    : alpha(static_cast<cl_float>(unary.alpha)),
      scale(static_cast<cl_float>(unary.scale)),
      shift(static_cast<cl_float>(unary.shift)),
      keeps_zero(unary.apply(0) == 0) {
  using Kind = Unary::Kind;
  std::string name(to_string(unary.kind));
  const double log_base = unary.alpha == 0 ? 1 : std::log(unary.alpha);
  if (unary.kind == Kind::relu && unary.alpha == 0) name = "relu0";
  if (unary.kind == Kind::power && unary.alpha == 1) name = "linear";
  if (unary.kind == Kind::power && unary.alpha == 2) name = "square";
  if (unary.kind == Kind::power && unary.alpha == 0.5) name = "root";
  if (unary.kind == Kind::exp) alpha = static_cast<cl_float>(log_base);
  if (unary.kind == Kind::log) alpha = static_cast<cl_float>(1 / log_base);
  option = "-DACTIVATION=ACTIVATE_" + name;
}

Activation Activation::of(const std::optional<Unary>& unary) {
  Activation result(unary ? *unary : Unary{Unary::Kind::relu, 1});
  if (!unary || unary->kind == Unary::Kind::relu) result.option = "-DACTIVATION=ACTIVATE_relu";
  return result;
}

namespace {

class UnaryProvider final : public Provider {
 public:
  std::string name() const override { return "unary.cl"; }

  void offer(const Call& call, const Runtime& runtime, std::vector<Offer>& offers) const override {
    if (call.op.as<Unary>() == nullptr || !has_floats(call, runtime)) return;
    for (const Layout layout : natural_layouts(call, runtime)) {
      Offer offer = same_layout_offer(*this, call, layout,
                                      memory_seconds(static_cast<double>(call.src[0].bytes()) * 2));
      offer.src_window = offer.dst_window = offer.in_place = true;
      offers.push_back(std::move(offer));
    }
  }

  std::unique_ptr<Kernel> compile(const Call& call, const Runtime& runtime) const override {
    const Activation activation(*call.op.as<Unary>());
    const Images from(call.src[0]), to(call.dst[0]);
    const bool has_padding = from.channels % call.src[0].layout.block != 0;
    std::string options = activation.option + half_option(call);
    if (has_padding && !activation.keeps_zero) options += " -DMASKED";
    return std::make_unique<OpenclKernel>(
        fmt::format("unary.cl {}", to_string(call.op.as<Unary>()->kind)),
        std::vector{stage(runtime.program("unary", options), "unary",
                          (from.run + runtime.block - 1) / runtime.block, 1, from.count,
                          {src(0), dst(0), from.stride, to.stride, static_cast<cl_ulong>(from.run),
                           activation.alpha, activation.scale, activation.shift,
                           static_cast<cl_uint>(from.pixels), static_cast<cl_uint>(from.channels)})});
  }
};

}  // namespace

std::unique_ptr<Provider> unary_provider() { return std::make_unique<UnaryProvider>(); }

}  // namespace maru::opencl
