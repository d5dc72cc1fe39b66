#include "backends/cuda/kernels/softmax.h"
#include "backends/cuda/kernels/vectors.cuh"

namespace maru::cuda {
namespace {

// Where a row begins; its elements are `inner` apart.
__device__ std::int64_t begin_of(const SoftmaxParams& p, std::uint32_t row) {
  const std::uint32_t outer = row / p.inner;
  return static_cast<std::int64_t>(outer) * p.middle * p.inner + (row - outer * p.inner);
}

struct Most {
  static constexpr float kNone = -INFINITY;
  __device__ float operator()(float a, float b) const { return fmaxf(a, b); }
};
struct Sum {
  static constexpr float kNone = 0;
  __device__ float operator()(float a, float b) const { return a + b; }
};

// Of all threads of the block, for each of them. `shared`: a float a warp.
template <class Combine>
__device__ float over_block(float value, float* shared, Combine combine) {
  constexpr int kWarp = 32, kWarps = kSoftmaxThreads / kWarp;
  const int thread = static_cast<int>(threadIdx.x), lane = thread % kWarp;
#pragma unroll
  for (int apart = kWarp / 2; apart > 0; apart /= 2) {
    value = combine(value, __shfl_xor_sync(0xffffffffu, value, apart));
  }
  if (lane == 0) shared[thread / kWarp] = value;
  __syncthreads();
  value = Combine::kNone;
#pragma unroll
  for (int warp = 0; warp < kWarps; ++warp) value = combine(value, shared[warp]);
  return value;
}

template <class S, class D>
__global__ void softmax(SoftmaxParams p) {
  __shared__ float most_of_warps[kSoftmaxThreads / 32], sum_of_warps[kSoftmaxThreads / 32];
  const std::int64_t begin = begin_of(p, blockIdx.x);
  const S* src = static_cast<const S*>(p.src) + begin;
  D* dst = static_cast<D*>(p.dst) + begin;
  const auto at = [&](std::uint32_t m) { return static_cast<std::int64_t>(m) * p.inner; };
  float most = Most::kNone, sum = 0;
  for (std::uint32_t m = threadIdx.x; m < p.middle; m += kSoftmaxThreads) {
    most = fmaxf(most, to_float(src[at(m)]));
  }
  most = over_block(most, most_of_warps, Most());
  for (std::uint32_t m = threadIdx.x; m < p.middle; m += kSoftmaxThreads) {
    sum += expf(to_float(src[at(m)]) - most);
  }
  sum = over_block(sum, sum_of_warps, Sum());
  for (std::uint32_t m = threadIdx.x; m < p.middle; m += kSoftmaxThreads) {
    dst[at(m)] = from_float<D>(expf(to_float(src[at(m)]) - most) / sum);
  }
}

template <class S, class D>
__global__ void softmax_short(SoftmaxParams p) {
  const std::uint32_t row = thread_index();
  if (row >= p.rows) return;
  const std::int64_t begin = begin_of(p, row);
  const S* src = static_cast<const S*>(p.src) + begin;
  D* dst = static_cast<D*>(p.dst) + begin;
  const auto at = [&](std::uint32_t m) { return static_cast<std::int64_t>(m) * p.inner; };
  float most = Most::kNone, sum = 0;
  for (std::uint32_t m = 0; m < p.middle; ++m) most = fmaxf(most, to_float(src[at(m)]));
  for (std::uint32_t m = 0; m < p.middle; ++m) sum += expf(to_float(src[at(m)]) - most);
  for (std::uint32_t m = 0; m < p.middle; ++m) {
    dst[at(m)] = from_float<D>(expf(to_float(src[at(m)]) - most) / sum);
  }
}

MARU_CUDA_FUNCTION("softmax_f32", softmax<float, float>)
MARU_CUDA_FUNCTION("softmax_f16", softmax<__half, __half>)
MARU_CUDA_FUNCTION("softmax_wide_f16", softmax<__half, float>)
MARU_CUDA_FUNCTION("softmax_short_f32", softmax_short<float, float>)
MARU_CUDA_FUNCTION("softmax_short_f16", softmax_short<__half, __half>)
MARU_CUDA_FUNCTION("softmax_short_wide_f16", softmax_short<__half, float>)

}  // namespace
}  // namespace maru::cuda
