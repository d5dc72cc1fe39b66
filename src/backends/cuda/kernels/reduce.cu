#include "backends/cuda/kernels/reduce.h"
#include "backends/cuda/kernels/vectors.cuh"

namespace maru::cuda {
namespace {

constexpr int kAtOnce = 4;  // vectors that a thread has under way

__device__ bool takes_two(ReduceTerm term) {
  return term != ReduceTerm::value && term != ReduceTerm::square;
}

__device__ float term_of(ReduceTerm term, float a, float b) {
  switch (term) {
    case ReduceTerm::value:
      return a;
    case ReduceTerm::square:
      return a * a;
    case ReduceTerm::product:
      return a * b;
    case ReduceTerm::euclidean:
      return (a - b) * (a - b) * 0.5f;
    case ReduceTerm::cross_entropy:
      // log(1 + exp(-|a|)) does not overflow.
      return fmaxf(a, 0.0f) - a * b + log1pf(expf(-fabsf(a)));
  }
  return 0;
}

template <int N>
__device__ void add(ReduceTerm term, const float (&a)[N], const float (&b)[N], float (&sum)[N]) {
  if (term == ReduceTerm::value) {
#pragma unroll
    for (int i = 0; i < N; ++i) sum[i] += a[i];
  } else if (term == ReduceTerm::square) {
#pragma unroll
    for (int i = 0; i < N; ++i) sum[i] = fmaf(a[i], a[i], sum[i]);
  } else if (term == ReduceTerm::product) {
#pragma unroll
    for (int i = 0; i < N; ++i) sum[i] = fmaf(a[i], b[i], sum[i]);
  } else {
#pragma unroll
    for (int i = 0; i < N; ++i) sum[i] += term_of(term, a[i], b[i]);
  }
}

// A thread's rows: from `row` on, each `step` further, before `end`.
template <bool kIsWhole, class S, int N>
__device__ void add_rows(const ReduceColumnsParams& p, const S* a, const S* b, int count,
                         std::uint32_t row, std::uint32_t end, std::uint32_t step, float (&sum)[N]) {
  const bool has_two = takes_two(p.term), is_aligned = kIsWhole || p.is_aligned;
  const int elements = kIsWhole ? N : count;
  for (; row + (kAtOnce - 1) * step < end; row += kAtOnce * step) {
    float x[kAtOnce][N], y[kAtOnce][N] = {};
#pragma unroll
    for (int k = 0; k < kAtOnce; ++k)
      load(a + (row + k * step) * p.a_stride, elements, is_aligned, x[k]);
    if (has_two) {
#pragma unroll
      for (int k = 0; k < kAtOnce; ++k)
        load(b + (row + k * step) * p.b_stride, elements, is_aligned, y[k]);
    }
#pragma unroll
    for (int k = 0; k < kAtOnce; ++k) add(p.term, x[k], y[k], sum);
  }
  for (; row < end; row += step) {
    float x[N], y[N] = {};
    load(a + row * p.a_stride, elements, is_aligned, x);
    if (has_two) load(b + row * p.b_stride, elements, is_aligned, y);
    add(p.term, x, y, sum);
  }
}

template <class S, class D>
__global__ void reduce_columns(ReduceColumnsParams p) {
  constexpr int N = kVector<S>;
  __shared__ float shared[kReduceThreads * N];
  const std::uint32_t column = (blockIdx.x * blockDim.x + threadIdx.x) * N;
  const int count =
      column < p.columns ? static_cast<int>(min(p.columns - column, std::uint32_t{N})) : 0;
  const std::uint32_t begin = blockIdx.y * p.each, end = min(p.rows, begin + p.each);
  const S* a = static_cast<const S*>(p.a) + column;
  const S* b = static_cast<const S*>(p.b) + column;
  float sum[N] = {};
  if (count == N && p.is_aligned) {
    add_rows<true>(p, a, b, count, begin + threadIdx.y, end, blockDim.y, sum);
  } else if (count > 0) {
    add_rows<false>(p, a, b, count, begin + threadIdx.y, end, blockDim.y, sum);
  }
  const auto place = [&](unsigned row, int i) {
    return (row * blockDim.x + threadIdx.x) * N + static_cast<unsigned>(i);
  };
#pragma unroll
  for (int i = 0; i < N; ++i) shared[place(threadIdx.y, i)] = sum[i];
  for (unsigned half = blockDim.y / 2; half > 0; half /= 2) {
    __syncthreads();
    if (threadIdx.y >= half) continue;
#pragma unroll
    for (int i = 0; i < N; ++i) shared[place(threadIdx.y, i)] += shared[place(threadIdx.y + half, i)];
  }
  if (threadIdx.y > 0) return;
  D* dst = static_cast<D*>(p.dst) + static_cast<std::int64_t>(blockIdx.y) * p.columns + column;
#pragma unroll
  for (int i = 0; i < N; ++i) {
    if (i < count) dst[i] = from_float<D>(shared[place(0, i)] * p.factor);
  }
}

// The thread's vectors: from `vector` on, each `step` further, before `end`.
template <bool kIsWhole, class S, int N>
__device__ void add_vectors(const ReduceRunsParams& p, const S* a, const S* b, std::uint32_t vector,
                            std::uint32_t end, std::uint32_t step, float (&sum)[N]) {
  const bool has_two = takes_two(p.term);
  // Behind the last element: a pair whose cross entropy is 0 as well.
  const float rest = p.term == ReduceTerm::cross_entropy ? -1e30f : 0.0f;
  const auto fetch = [&](const S* from, std::int64_t stride, std::uint32_t index, float(&value)[N],
                         float behind) {
    const std::uint32_t outer = index / p.vectors, first = (index - outer * p.vectors) * N;
    const int count = kIsWhole ? N : static_cast<int>(min(p.inner - first, std::uint32_t{N}));
    load(from + outer * stride + first, count, kIsWhole, value, behind);
  };
  for (; vector + (kAtOnce - 1) * step < end; vector += kAtOnce * step) {
    float x[kAtOnce][N], y[kAtOnce][N] = {};
#pragma unroll
    for (int k = 0; k < kAtOnce; ++k) fetch(a, p.a_stride, vector + k * step, x[k], rest);
    if (has_two) {
#pragma unroll
      for (int k = 0; k < kAtOnce; ++k) fetch(b, p.b_stride, vector + k * step, y[k], 0);
    }
#pragma unroll
    for (int k = 0; k < kAtOnce; ++k) add(p.term, x[k], y[k], sum);
  }
  for (; vector < end; vector += step) {
    float x[N], y[N] = {};
    fetch(a, p.a_stride, vector, x, rest);
    if (has_two) fetch(b, p.b_stride, vector, y, 0);
    add(p.term, x, y, sum);
  }
}

template <class S, class D>
__global__ void reduce_runs(ReduceRunsParams p) {
  constexpr int N = kVector<S>, kWarp = 32;
  __shared__ float of_warps[kReduceThreads / kWarp];
  const std::uint32_t begin = blockIdx.y * p.each, end = min(p.outer * p.vectors, begin + p.each);
  const std::int64_t first = static_cast<std::int64_t>(blockIdx.x) * p.inner;
  const S* a = static_cast<const S*>(p.a) + first;
  const S* b = static_cast<const S*>(p.b) + first;
  float sums[N] = {};
  if (p.is_whole) {
    add_vectors<true>(p, a, b, begin + threadIdx.x, end, blockDim.x, sums);
  } else {
    add_vectors<false>(p, a, b, begin + threadIdx.x, end, blockDim.x, sums);
  }
  float sum = 0;
#pragma unroll
  for (int i = 0; i < N; ++i) sum += sums[i];
#pragma unroll
  for (int apart = kWarp / 2; apart > 0; apart /= 2) sum += __shfl_xor_sync(0xffffffffu, sum, apart);
  if (threadIdx.x % kWarp == 0) of_warps[threadIdx.x / kWarp] = sum;
  __syncthreads();
  if (threadIdx.x > 0) return;
  sum = 0;
  for (unsigned warp = 0; warp < blockDim.x / kWarp; ++warp) sum += of_warps[warp];
  static_cast<D*>(p.dst)[static_cast<std::int64_t>(blockIdx.y) * p.middle + blockIdx.x] =
      from_float<D>(sum * p.factor);
}

// By what they read; "wide" ones write f32, "narrow" ones f16.
MARU_CUDA_FUNCTION("reduce_columns_f32", reduce_columns<float, float>)
MARU_CUDA_FUNCTION("reduce_columns_f16", reduce_columns<__half, __half>)
MARU_CUDA_FUNCTION("reduce_columns_wide_f16", reduce_columns<__half, float>)
MARU_CUDA_FUNCTION("reduce_columns_narrow_f32", reduce_columns<float, __half>)
MARU_CUDA_FUNCTION("reduce_runs_f32", reduce_runs<float, float>)
MARU_CUDA_FUNCTION("reduce_runs_f16", reduce_runs<__half, __half>)
MARU_CUDA_FUNCTION("reduce_runs_wide_f16", reduce_runs<__half, float>)

}  // namespace
}  // namespace maru::cuda
