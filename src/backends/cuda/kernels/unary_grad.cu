#include "backends/cuda/kernels/unary_grad.h"
#include "backends/cuda/kernels/vectors.cuh"

namespace maru::cuda {
namespace {

__device__ float derivative_at(const Derivative& derivative, float x) {
  using Kind = Derivative::Kind;
  const float z = fmaf(derivative.scale, x, derivative.shift);
  switch (derivative.kind) {
    case Kind::relu:
      return x > 0 ? 1.0f : derivative.alpha;
    case Kind::elu:
      return x > 0 ? 1.0f : derivative.alpha * expf(x);
    case Kind::elu_result:
      return x > 0 ? 1.0f : x + derivative.alpha;
    case Kind::sigmoid:
      return x * (1 - x);
    case Kind::tanh:
      return 1 - x * x;
    case Kind::power:
      return derivative.factor * powf(z, derivative.alpha);
    case Kind::linear:
      return derivative.factor * z;
    case Kind::constant:
      return derivative.factor;
    case Kind::abs:
      return x > 0 ? 1.0f : x < 0 ? -1.0f : 0.0f;
    case Kind::exp:
      return derivative.factor * x;
    case Kind::log:
      return derivative.factor / z;
    case Kind::bnll:
      return 1 / (1 + expf(-x));
  }
  return 0;
}

template <class T>
__global__ void unary_grad(UnaryGradParams p) {
  constexpr int N = kVector<T>;
  const Part part = part_of<N>(p.rows);
  if (part.count == 0) return;
  float gradient[N], at[N];
  load(static_cast<const T*>(p.gradient) + part.row * p.gradient_stride + part.first, part.count,
       p.is_aligned, gradient);
  load(static_cast<const T*>(p.at) + part.row * p.at_stride + part.first, part.count, p.is_aligned, at);
  // The usual one is told apart once for all elements.
  if (p.derivative.kind == Derivative::Kind::relu) {
#pragma unroll
    for (int i = 0; i < N; ++i) gradient[i] *= at[i] > 0 ? 1.0f : p.derivative.alpha;
  } else {
#pragma unroll
    for (int i = 0; i < N; ++i) gradient[i] *= derivative_at(p.derivative, at[i]);
  }
  store(gradient, static_cast<T*>(p.dst) + part.row * p.dst_stride + part.first, part.count,
        p.is_aligned);
}

MARU_CUDA_FUNCTION("unary_grad_f32", unary_grad<float>)
MARU_CUDA_FUNCTION("unary_grad_f16", unary_grad<__half>)

}  // namespace
}  // namespace maru::cuda
