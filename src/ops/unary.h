// Unary: one function of each element. A family: ReLU, sigmoid and the like are kinds of it.
#pragma once

#include "ops/operator.h"

namespace maru {

struct Unary {
  static constexpr std::string_view kName = "unary";
  enum class Kind : std::uint8_t {
    relu,     // max(x, 0) + alpha min(x, 0)
    elu,      // x for x > 0, alpha (exp(x) - 1) otherwise
    sigmoid,  // 1 / (1 + exp(-x))
    tanh,
    power,  // (shift + scale x) ^ alpha
    abs,
    exp,   // alpha ^ (shift + scale x); alpha 0 stands for e
    log,   // log(shift + scale x) to the base alpha; alpha 0 stands for e
    bnll,  // log(1 + exp(x))
  };

  Kind kind = Kind::relu;
  double alpha = 0;
  double scale = 1;
  double shift = 0;

  template <class Self, class V>
  static void fields(Self& self, V&& visit) {
    visit("kind", self.kind);
    visit("alpha", self.alpha);
    visit("scale", self.scale);
    visit("shift", self.shift);
  }

  std::vector<TensorDesc> infer(Descs src) const;
  Cost cost(Descs src, Descs dst) const;
  void reference(Views src, Views dst) const;
  double apply(double x) const;

  bool operator==(const Unary&) const = default;
};

std::string_view to_string(Unary::Kind kind) noexcept;
// As an attribute of another operator it goes by its kind: "relu", "elu(alpha=1)".
std::string print_field(const Unary& unary);
void parse_field(std::string_view text, Unary& unary);
Operator unary_operator();

}  // namespace maru
