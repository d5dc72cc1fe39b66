// Activation: an ops/unary function as functions of the module take it. A plain struct, for both sides.
#pragma once

#include <cstdint>

namespace maru::cuda {

struct Activation {
  // relu: max(x, 0) + alpha min(x, 0), so that alpha 1 is none. Of z = shift + scale x: power: z^alpha,
  // exp: e^(alpha z), log: alpha ln z; linear, square and root are powers of their own.
  enum class Kind : std::int32_t {
    relu,
    elu,
    sigmoid,
    tanh,
    power,
    linear,
    square,
    root,
    abs,
    exp,
    log,
    bnll
  };
  Kind kind = Kind::relu;
  float alpha = 1, scale = 1, shift = 0;
};

}  // namespace maru::cuda
