// apply(): an Activation of one number, in single precision.
#pragma once

#include "backends/cuda/kernels/activation.h"

namespace maru::cuda {

// The usual ones, ReLU and none, without a branch. What is no number stays none, or an update by
// gradients that are none would not be seen.
__device__ inline float apply_relu(float x, float alpha) { return x > 0 ? x : alpha * x; }

__device__ inline float apply(const Activation& activation, float x) {
  using Kind = Activation::Kind;
  const float z = fmaf(activation.scale, x, activation.shift);
  switch (activation.kind) {
    case Kind::relu:
      return apply_relu(x, activation.alpha);
    case Kind::elu:
      return x > 0 ? x : activation.alpha * expm1f(x);
    case Kind::sigmoid:
      return 1 / (1 + expf(-x));
    case Kind::tanh:
      return tanhf(x);
    case Kind::power:
      return powf(z, activation.alpha);
    case Kind::linear:
      return z;
    case Kind::square:
      return z * z;
    case Kind::root:
      return sqrtf(z);
    case Kind::abs:
      return fabsf(x);
    case Kind::exp:
      return expf(activation.alpha * z);
    case Kind::log:
      return activation.alpha * logf(z);
    case Kind::bnll:
      return fmaxf(x, 0.0f) + log1pf(expf(-fabsf(x)));
  }
  return x;
}

// The usual ones are told apart once for all elements.
template <int N>
__device__ void apply_all(const Activation& activation, float (&value)[N]) {
  if (activation.kind == Activation::Kind::relu) {
#pragma unroll
    for (float& one : value) one = apply_relu(one, activation.alpha);
  } else {
#pragma unroll
    for (float& one : value) one = apply(activation, one);
  }
}

}  // namespace maru::cuda
