// Reduce: sums over all axes but some: gradients of biases and scales.
#pragma once

#include "ops/operator.h"

namespace maru {

// src: a tensor, or two of one shape, whose products are summed. dst: the axes
// [axis, axis + num_axes) of it, -1 standing for all that follow, 0 for a scalar; all others are summed
// over.
struct Reduce {
  static constexpr std::string_view kName = "reduce";

  std::int64_t axis = 1;  // negative from the back
  std::int64_t num_axes = 1;
  bool widen = false;  // the result is f32 also where the operands are f16

  template <class Self, class V>
  static void fields(Self& self, V&& visit) {
    visit("axis", self.axis);
    visit("num_axes", self.num_axes);
    visit("widen", self.widen);
  }

  std::vector<TensorDesc> infer(Descs src) const;
  Cost cost(Descs src, Descs dst) const;
  void reference(Views src, Views dst) const;

  bool operator==(const Reduce&) const = default;
};

Operator reduce_operator();

}  // namespace maru
