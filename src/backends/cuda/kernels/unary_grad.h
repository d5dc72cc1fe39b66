// The parameters of unary_grad_*: a gradient times the derivative of a function of each element. Plain
// structs, for both sides.
#pragma once

#include "backends/cuda/kernels/rows.h"

namespace maru::cuda {

// Of the function's operand or result x, as ops/unary_grad.h says. Of z = shift + scale x:
//   relu: x > 0 ? 1 : alpha; elu: x > 0 ? 1 : alpha e^x, elu_result: x > 0 ? 1 : x + alpha
//   power: factor z^alpha, linear: factor z, log: factor / z; exp: factor x; constant: factor
struct Derivative {
  enum class Kind : std::int32_t {
    relu,
    elu,
    elu_result,
    sigmoid,
    tanh,
    power,
    linear,
    constant,
    abs,
    exp,
    log,
    bnll
  };
  Kind kind = Kind::constant;
  float alpha = 0, factor = 1, scale = 1, shift = 0;
};

struct UnaryGradParams {
  const void* gradient;
  const void* at;                                       // operand or result
  void* dst;                                            // may be the bytes of `gradient`
  std::int64_t gradient_stride, at_stride, dst_stride;  // from one row to the next, in elements
  Rows rows;
  bool is_aligned;
  Derivative derivative;
};

}  // namespace maru::cuda
