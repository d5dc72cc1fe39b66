#include "backends/cuda/kernels/block.cuh"
#include "backends/cuda/kernels/softmax.h"
#include "backends/cuda/kernels/vectors.cuh"

namespace maru::cuda {
namespace {

// Where a row begins; its elements are `inner` apart.
__device__ std::int64_t begin_of(const SoftmaxParams& p, std::uint32_t row) {
  const std::uint32_t outer = row / p.inner;
  return static_cast<std::int64_t>(outer) * p.middle * p.inner + (row - outer * p.inner);
}

template <class S, class D>
__global__ void softmax(SoftmaxParams p) {
  __shared__ float most_of_warps[kSoftmaxThreads / kWarp], sum_of_warps[kSoftmaxThreads / kWarp];
  const std::int64_t begin = begin_of(p, blockIdx.x);
  const S* src = static_cast<const S*>(p.src) + begin;
  D* dst = static_cast<D*>(p.dst) + begin;
  const auto at = [&](std::uint32_t m) { return static_cast<std::int64_t>(m) * p.inner; };
  float most = -INFINITY, sum = 0;
  for (std::uint32_t m = threadIdx.x; m < p.middle; m += kSoftmaxThreads) {
    most = fmaxf(most, to_float(src[at(m)]));
  }
  most = over_block<kSoftmaxThreads>(most, most_of_warps, Most());
  for (std::uint32_t m = threadIdx.x; m < p.middle; m += kSoftmaxThreads) {
    sum += expf(to_float(src[at(m)]) - most);
  }
  sum = over_block<kSoftmaxThreads>(sum, sum_of_warps, Sum());
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
  float most = -INFINITY, sum = 0;
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
