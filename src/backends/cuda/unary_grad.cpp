#include "ops/unary_grad.h"

#include <cmath>

#include "backends/cuda/elements.h"
#include "backends/cuda/kernels/unary_grad.h"
#include "backends/cuda/training.h"

namespace maru::cuda {
namespace {

Derivative derivative_of(const UnaryGrad& grad) {
  using From = Unary::Kind;
  using To = Derivative::Kind;
  const Unary& unary = grad.unary;
  const auto single = [](double value) { return static_cast<float>(value); };
  Derivative result{To::constant, single(unary.alpha), 1, single(unary.scale), single(unary.shift)};
  const double log_base = unary.alpha == 0 ? 1 : std::log(unary.alpha);
  switch (unary.kind) {
    case From::relu:
      result.kind = To::relu;
      break;
    case From::elu:
      result.kind = grad.takes_result() ? To::elu_result : To::elu;
      break;
    case From::sigmoid:
      result.kind = To::sigmoid;
      break;
    case From::tanh:
      result.kind = To::tanh;
      break;
    case From::exp:
      result.kind = To::exp;
      result.factor = single(unary.scale * log_base);
      break;
    case From::power:
      result.kind = unary.alpha == 1 ? To::constant : unary.alpha == 2 ? To::linear : To::power;
      if (unary.alpha == 0 || unary.scale == 0) result.kind = To::constant;
      result.factor = single(unary.alpha * unary.scale);
      result.alpha = single(unary.alpha - 1);
      break;
    case From::abs:
      result.kind = To::abs;
      break;
    case From::log:
      result.kind = To::log;
      result.factor = single(unary.scale / log_base);
      break;
    case From::bnll:
      result.kind = To::bnll;
      break;
  }
  return result;
}

class UnaryGradProvider final : public Provider {
 public:
  std::string name() const override { return "unary_grad"; }

  void offer(const Call& call, const Runtime& runtime, std::vector<Offer>& offers) const override {
    if (call.op.as<UnaryGrad>() == nullptr || !is_training_call(call)) return;
    const double seconds = memory_seconds(runtime, static_cast<double>(call.src[0].bytes()) * 3);
    for (const Layout layout : natural_layouts(call)) {
      Offer offer = same_layout_offer(*this, call, layout, seconds);
      offer.src_window = offer.dst_window = offer.in_place = true;
      offers.push_back(std::move(offer));
    }
  }

  std::unique_ptr<Kernel> compile(const Call& call, const Offer&,
                                  const Runtime& runtime) const override {
    const UnaryGrad& grad = *call.op.as<UnaryGrad>();
    const DType dtype = *data_type(call);
    const TensorDesc tensors[] = {call.src[0], call.src[1], call.dst[0]};
    UnaryGradParams params{};
    params.rows = rows_of(tensors, vector_of(dtype));
    params.gradient_stride = row_stride(tensors[0], params.rows);
    params.at_stride = row_stride(tensors[1], params.rows);
    params.dst_stride = row_stride(tensors[2], params.rows);
    params.derivative = derivative_of(grad);
    const auto bind = [params, size = static_cast<std::int64_t>(size_of(dtype))](const Bound& bound) {
      UnaryGradParams bound_params = params;
      bound_params.gradient = bound.src(0);
      bound_params.at = bound.src(1);
      bound_params.dst = bound.dst(0);
      bound_params.is_aligned = is_aligned(bound_params.gradient, params.gradient_stride * size) &&
                                is_aligned(bound_params.at, params.at_stride * size) &&
                                is_aligned(bound_params.dst, params.dst_stride * size);
      return bound_params;
    };
    return std::make_unique<CudaKernel>(
        runtime, fmt::format("unary_grad {}", to_string(grad.unary.kind)),
        std::vector{spread(runtime, function_of("unary_grad", dtype), params.rows, bind)});
  }
};

}  // namespace

std::unique_ptr<Provider> unary_grad_provider() { return std::make_unique<UnaryGradProvider>(); }

}  // namespace maru::cuda
