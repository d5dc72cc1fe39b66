// Softmax: along one axis, positive numbers that sum to one.
#pragma once

#include "ops/operator.h"

namespace maru {

// src, dst: the same shape. y = exp(x - m) / sum of exp(x - m), m the largest x along the axis, so that
// no finite input overflows. Caffe: softmax_param.
struct Softmax {
  static constexpr std::string_view kName = "softmax";

  std::int64_t axis = 1;  // negative from the back
  bool widen = false;     // the result is f32 also where the operand is f16

  template <class Self, class V>
  static void fields(Self& self, V&& visit) {
    visit("axis", self.axis);
    visit("widen", self.widen);
  }

  std::vector<TensorDesc> infer(Descs src) const;
  Cost cost(Descs src, Descs dst) const;
  void reference(Views src, Views dst) const;

  bool operator==(const Softmax&) const = default;
};

Operator softmax_operator();

}  // namespace maru
