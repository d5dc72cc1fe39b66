#include "backends/cuda/kernels/activation.cuh"
#include "backends/cuda/kernels/block.cuh"
#include "backends/cuda/kernels/eltwise.h"
#include "backends/cuda/kernels/vectors.cuh"

namespace maru::cuda {
namespace {

using Kind = EltwiseParams::Kind;

__device__ float combine(Kind kind, float a, float b, float factor) {
  if (kind == Kind::sum) return a + factor * b;
  return kind == Kind::product ? a * b : fmaxf(a, b);
}

template <class T>
__global__ void eltwise(EltwiseParams p) {
  constexpr int N = kVector<T>;
  const Part part = part_of<N>(p.rows);
  if (part.count == 0) return;
  const auto operand = [&](int i, float(&value)[N]) {
    load(static_cast<const T*>(p.src[i]) + part.row * p.src_stride[i] + part.first, part.count,
         p.is_aligned, value);
  };
  const std::int64_t carried = static_cast<std::int64_t>(thread_index()) * N;
  float result[N], value[N];
  int k = 0;
  if (p.before != nullptr) {
    load(p.before + carried, N, true, result);
  } else {
    operand(k++, result);
    if (p.kind == Kind::sum) {
#pragma unroll
      for (float& one : result) one *= p.factor[0];
    }
  }
  for (; k < p.count; ++k) {
    operand(k, value);
#pragma unroll
    for (int i = 0; i < N; ++i) result[i] = combine(p.kind, result[i], value[i], p.factor[k]);
  }
  if (p.behind != nullptr) {
    store(result, p.behind + carried, N, true);
    return;
  }
  apply_all(p.activation, result);
  store(result, static_cast<T*>(p.dst) + part.row * p.dst_stride + part.first, part.count,
        p.is_aligned);
}

__global__ void sum_ones(SumOnesParams p) {
  __shared__ float of_warps[kSumOnes / kWarp];
  const int own = static_cast<int>(threadIdx.x);
  const float sum = over_block<kSumOnes>(own < p.count ? p.src[own][0] : 0.0f, of_warps, Sum());
  if (own == 0) p.dst[0] = sum;
}

MARU_CUDA_FUNCTION("sum_ones", sum_ones)
MARU_CUDA_FUNCTION("eltwise_f32", eltwise<float>)
MARU_CUDA_FUNCTION("eltwise_f16", eltwise<__half>)

}  // namespace
}  // namespace maru::cuda
