#include "backends/cuda/activation.h"

#include <cmath>

namespace maru::cuda {

Activation activation_of(const Unary& unary) {
  using From = Unary::Kind;
  using To = Activation::Kind;
  Activation result{To::relu, static_cast<float>(unary.alpha), static_cast<float>(unary.scale),
                    static_cast<float>(unary.shift)};
  const double log_base = unary.alpha == 0 ? 1 : std::log(unary.alpha);
  switch (unary.kind) {
    case From::relu:
      break;
    case From::elu:
      result.kind = To::elu;
      break;
    case From::sigmoid:
      result.kind = To::sigmoid;
      break;
    case From::tanh:
      result.kind = To::tanh;
      break;
    case From::power:
      result.kind = unary.alpha == 1     ? To::linear
                    : unary.alpha == 2   ? To::square
                    : unary.alpha == 0.5 ? To::root
                                         : To::power;
      break;
    case From::abs:
      result.kind = To::abs;
      break;
    case From::exp:
      result.kind = To::exp;
      result.alpha = static_cast<float>(log_base);
      break;
    case From::log:
      result.kind = To::log;
      result.alpha = static_cast<float>(1 / log_base);
      break;
    case From::bnll:
      result.kind = To::bnll;
      break;
  }
  return result;
}

Activation activation_of(const std::optional<Unary>& unary) {
  return unary ? activation_of(*unary) : Activation{};
}

}  // namespace maru::cuda
