// LrnGrad: gradient of local response normalisation by its input.
#pragma once

#include "ops/lrn.h"

namespace maru {

// src: gradient of the result and the input, both N x C x H x W. dst: gradient of the input x. With
// s = k + w * sum of x^2 around, w = alpha / size (/ size^2 within), and g the gradient of the result:
//   g s^-beta - 2 beta w x * sum around of (g x s^(-beta - 1))
struct LrnGrad {
  static constexpr std::string_view kName = "lrn_grad";

  Lrn lrn;

  template <class Self, class V>
  static void fields(Self& self, V&& visit) {
    Lrn::fields(self.lrn, visit);
  }

  std::vector<TensorDesc> infer(Descs src) const;
  Cost cost(Descs src, Descs dst) const;
  void reference(Views src, Views dst) const;

  bool operator==(const LrnGrad&) const = default;
};

Gradients lrn_gradient(GradientCall& call);
Operator lrn_grad_operator();

}  // namespace maru
