// Cast: the same values in another element type. No model file has it; networks that run in half
// precision have it where they meet single precision.
#pragma once

#include "ops/operator.h"

namespace maru {

// src: any shape, f32 or f16. dst: the same shape, of `to`: the nearest values, ties to even; beyond
// the range of halves infinities.
struct Cast {
  static constexpr std::string_view kName = "cast";

  DType to = DType::f32;  // f32 or f16

  template <class Self, class V>
  static void fields(Self& self, V&& visit) {
    visit("to", self.to);
  }

  std::vector<TensorDesc> infer(Descs src) const;
  Cost cost(Descs src, Descs dst) const;
  // Also of and to f16 in memory; between f32 and f64, in which f16 is interpreted, values stay.
  void reference(Views src, Views dst) const;

  bool operator==(const Cast&) const = default;
};

Operator cast_operator();

}  // namespace maru
