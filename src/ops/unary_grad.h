// UnaryGrad: gradient of a function of each element, times the gradient of its result.
#pragma once

#include <optional>

#include "ops/unary.h"

namespace maru {

// src: gradient of the function's result, and the result itself where the derivative follows from it
// (takes_result()), so that the function may work in place; else its operand. dst: gradient of the
// operand. At 0 the derivative of relu is that of the left side, that of abs 0.
struct UnaryGrad {
  static constexpr std::string_view kName = "unary_grad";

  Unary unary;

  template <class Self, class V>
  static void fields(Self& self, V&& visit) {
    Unary::fields(self.unary, visit);
  }

  bool takes_result() const;
  // At the result or the operand, as takes_result() says.
  double derivative(double at) const;

  std::vector<TensorDesc> infer(Descs src) const;
  Cost cost(Descs src, Descs dst) const;
  void reference(Views src, Views dst) const;

  bool operator==(const UnaryGrad&) const = default;
};

Gradients unary_gradient(GradientCall& call);
// The gradient of what the activation, fused into the node, was applied to.
ValueId before_activation(GradientCall& call, const std::optional<Unary>& activation);
Operator unary_grad_operator();

}  // namespace maru
