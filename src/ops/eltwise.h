// Eltwise: sum, product or maximum of equal tensors, element by element. A family.
#pragma once

#include <optional>

#include "ops/unary.h"

namespace maru {

// src: two or more of one shape. dst: the same shape; for a sum, each input times its coefficient.
// Caffe: eltwise_param.
struct Eltwise {
  static constexpr std::string_view kName = "eltwise";
  enum class Kind : std::uint8_t { sum, product, maximum };

  Kind kind = Kind::sum;
  std::vector<double> coefficients = {};           // one an input, only for sums; empty: all 1
  std::optional<Unary> activation = std::nullopt;  // applied to the result

  template <class Self, class V>
  static void fields(Self& self, V&& visit) {
    visit("kind", self.kind);
    visit("coefficients", self.coefficients);
    visit("activation", self.activation);
  }

  std::vector<TensorDesc> infer(Descs src) const;
  Cost cost(Descs src, Descs dst) const;
  void reference(Views src, Views dst) const;

  bool operator==(const Eltwise&) const = default;
};

std::string_view to_string(Eltwise::Kind kind) noexcept;
Operator eltwise_operator();

}  // namespace maru
