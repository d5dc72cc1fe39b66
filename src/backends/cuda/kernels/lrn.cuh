// Local response normalisation of one vector of channels.
#pragma once

#include "backends/cuda/kernels/lrn.h"
#include "backends/cuda/kernels/vectors.cuh"

namespace maru::cuda {

// By the units for logarithms and powers of 2: off by 5e-7 and less for bases up to a thousand. Bases
// too small for a normal float count as zero.
__device__ inline float power(float base, float exponent) {
  float logarithm = 0, result = 0;
  asm("lg2.approx.ftz.f32 %0, %1;" : "=f"(logarithm) : "f"(base));
  asm("ex2.approx.ftz.f32 %0, %1;" : "=f"(result) : "f"(exponent * logarithm));
  return result;
}

__device__ inline float normalised(const LrnTerms& terms, float value, float sum) {
  return value * power(terms.k + terms.weight * sum, -terms.beta);
}

// Across channels, kHalf of them on each side, which is at most N. `before` and `behind` are the
// vectors next to `value`, zero where there is none.
template <int kHalf, int N>
__device__ void normalise(const LrnTerms& terms, const float (&before)[N], const float (&behind)[N],
                          float (&value)[N]) {
  float squares[N + 2 * kHalf];
#pragma unroll
  for (int i = 0; i < N; ++i) squares[kHalf + i] = value[i] * value[i];
#pragma unroll
  for (int i = 0; i < kHalf; ++i) {
    squares[i] = before[N - kHalf + i] * before[N - kHalf + i];
    squares[kHalf + N + i] = behind[i] * behind[i];
  }
#pragma unroll
  for (int i = 0; i < N; ++i) {
    float sum = 0;
#pragma unroll
    for (int k = 0; k <= 2 * kHalf; ++k) sum += squares[i + k];
    value[i] = normalised(terms, value[i], sum);
  }
}

}  // namespace maru::cuda
