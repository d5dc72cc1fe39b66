// BatchNormGrad: gradients of batch normalisation by the statistics of the batch: by its data, and by
// the scale and bias that are fused with it.
#pragma once

#include "ops/batch_norm_training.h"

namespace maru {

// src: gradient g of the result, and data x, of one shape; mean C and variance C, as the operator gave
//      them; with `affine`, scale C and bias C. All but the first two in the type of data or in f32.
// dst: gradient of x, as x; with `affine`, those of scale and bias, C each, f32 also where data is f16.
// With z as in ops/batch_norm_training.h, d the standard deviation that it divides by, h the gradient
// before the activation, and sums over the m elements of a channel:
//   h = g activation'(scale z + bias);  of bias: sum of h;  of scale: sum of h z
//   of x: scale / d (h - sum of h / m - z sum of h z / m)
// (Ioffe, Szegedy 2015, section 3.)
struct BatchNormGrad {
  static constexpr std::string_view kName = "batch_norm_grad";

  BatchNormTraining norm;

  template <class Self, class V>
  static void fields(Self& self, V&& visit) {
    BatchNormTraining::fields(self.norm, visit);
  }

  std::vector<TensorDesc> infer(Descs src) const;
  Cost cost(Descs src, Descs dst) const;
  void reference(Views src, Views dst) const;
  bool keeps_f32(std::size_t operand) const { return operand >= 2; }

  bool operator==(const BatchNormGrad&) const = default;
};

Gradients batch_norm_gradient(GradientCall& call);
Operator batch_norm_grad_operator();

}  // namespace maru
