// Activation: an ops/unary function as functions of the module take it. A plain struct, for both sides.
#pragma once

#include <cstdint>

namespace maru::cuda {

struct Activation {
  enum class Kind : std::int32_t { none, relu, elu, sigmoid, tanh, power, abs, exp, log, bnll };
  Kind kind = Kind::none;
  float alpha = 0, scale = 1, shift = 0;  // as Unary has them; exp and log: see activation.cpp
};

}  // namespace maru::cuda
