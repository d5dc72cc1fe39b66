#include "backends/cuda/kernels/block.cuh"
#include "backends/cuda/kernels/loss.h"
#include "backends/cuda/kernels/vectors.cuh"

namespace maru::cuda {
namespace {

constexpr int kWarps = kLossThreads / kWarp;

// Where the scores of a place begin.
__device__ std::int64_t begin_of(const LossPlaces& at, std::uint32_t place) {
  const std::uint32_t outer = place / at.inner;
  return static_cast<std::int64_t>(outer) * at.classes * at.inner + (place - outer * at.inner);
}
__device__ bool is_ignored(const LossPlaces& at, float label) {
  return static_cast<double>(label) == at.ignore;
}
__device__ bool is_class(const LossPlaces& at, float label) {
  return label >= 0 && label < static_cast<float>(at.classes) && label == floorf(label);
}
__device__ std::int64_t offset_of(const LossPlaces& at, float label) {
  return static_cast<std::int64_t>(label) * at.inner;
}

// -log of the label's share, whose scores begin at `scores`.
__device__ float loss_of(const LossPlaces& at, const float* scores, float label, float most,
                         float sum) {
  if (is_ignored(at, label)) return 0;
  return is_class(at, label) ? logf(sum) + (most - scores[offset_of(at, label)]) : NAN;
}

__global__ void softmax_loss(LossParams p) {
  __shared__ float most_of_warps[kWarps], sum_of_warps[kWarps];
  const std::int64_t begin = begin_of(p.at, blockIdx.x);
  const float* scores = p.scores + begin;
  const auto at = [&](std::uint32_t m) { return static_cast<std::int64_t>(m) * p.at.inner; };
  float most = -INFINITY, sum = 0;
  for (std::uint32_t m = threadIdx.x; m < p.at.classes; m += kLossThreads)
    most = fmaxf(most, scores[at(m)]);
  most = over_block<kLossThreads>(most, most_of_warps, Most());
  for (std::uint32_t m = threadIdx.x; m < p.at.classes; m += kLossThreads)
    sum += expf(scores[at(m)] - most);
  sum = over_block<kLossThreads>(sum, sum_of_warps, Sum());
  for (std::uint32_t m = threadIdx.x; m < p.at.classes; m += kLossThreads)
    p.shares[begin + at(m)] = expf(scores[at(m)] - most) / sum;
  if (threadIdx.x > 0) return;
  const float label = p.labels[blockIdx.x];
  p.sums[blockIdx.x] = loss_of(p.at, scores, label, most, sum);
  p.counts[blockIdx.x] = is_ignored(p.at, label) ? 0 : 1;
}

// Of each thread's place, into the block's sums.
__device__ void leave(const LossParams& p, float sum, std::uint32_t count) {
  __shared__ float sum_of_warps[kWarps];
  __shared__ std::uint32_t count_of_warps[kWarps];
  sum = over_block<kLossThreads>(sum, sum_of_warps, Sum());
  count = over_block<kLossThreads>(count, count_of_warps, Sum());
  if (threadIdx.x > 0) return;
  p.sums[blockIdx.x] = sum;
  p.counts[blockIdx.x] = count;
}

__global__ void softmax_loss_short(LossParams p) {
  const std::uint32_t place = thread_index();
  float loss = 0;
  std::uint32_t count = 0;
  if (place < p.at.places) {
    const std::int64_t begin = begin_of(p.at, place);
    const float* scores = p.scores + begin;
    const auto at = [&](std::uint32_t m) { return static_cast<std::int64_t>(m) * p.at.inner; };
    float most = -INFINITY, sum = 0;
    for (std::uint32_t m = 0; m < p.at.classes; ++m) most = fmaxf(most, scores[at(m)]);
    for (std::uint32_t m = 0; m < p.at.classes; ++m) sum += expf(scores[at(m)] - most);
    for (std::uint32_t m = 0; m < p.at.classes; ++m)
      p.shares[begin + at(m)] = expf(scores[at(m)] - most) / sum;
    const float label = p.labels[place];
    loss = loss_of(p.at, scores, label, most, sum);
    count = is_ignored(p.at, label) ? 0 : 1;
  }
  leave(p, loss, count);
}

// Whether fewer than `top` other classes have at least the label's score; NaN is above nothing.
__device__ bool is_hit(const LossParams& p, std::uint32_t above) {
  return above >= 1 && above <= p.top;
}

__global__ void accuracy(LossParams p) {
  __shared__ std::uint32_t above_of_warps[kWarps];
  const float* scores = p.scores + begin_of(p.at, blockIdx.x);
  const float label = p.labels[blockIdx.x];
  const bool counts = !is_ignored(p.at, label), can_hit = counts && is_class(p.at, label);
  std::uint32_t above = 0;  // itself included
  if (can_hit) {
    const float own = scores[offset_of(p.at, label)];
    for (std::uint32_t m = threadIdx.x; m < p.at.classes; m += kLossThreads)
      above += scores[static_cast<std::int64_t>(m) * p.at.inner] >= own ? 1 : 0;
  }
  above = over_block<kLossThreads>(above, above_of_warps, Sum());
  if (threadIdx.x > 0) return;
  p.sums[blockIdx.x] = is_hit(p, above) ? 1 : 0;
  p.counts[blockIdx.x] = counts ? 1 : 0;
}

__global__ void accuracy_short(LossParams p) {
  const std::uint32_t place = thread_index();
  std::uint32_t above = 0, count = 0;
  if (place < p.at.places) {
    const float* scores = p.scores + begin_of(p.at, place);
    const float label = p.labels[place];
    count = is_ignored(p.at, label) ? 0 : 1;
    if (count > 0 && is_class(p.at, label)) {
      const float own = scores[offset_of(p.at, label)];
      for (std::uint32_t m = 0; m < p.at.classes; ++m)
        above += scores[static_cast<std::int64_t>(m) * p.at.inner] >= own ? 1 : 0;
    }
  }
  leave(p, is_hit(p, above) ? 1.0f : 0.0f, count);
}

__global__ void loss_end(LossEndParams p) {
  __shared__ float sum_of_warps[kWarps];
  __shared__ std::uint32_t count_of_warps[kWarps];
  float sum = 0;
  std::uint32_t count = 0;
  for (std::uint32_t block = threadIdx.x; block < p.blocks; block += kLossThreads) {
    sum += p.sums[block];
    count += p.counts[block];
  }
  sum = over_block<kLossThreads>(sum, sum_of_warps, Sum());
  count = over_block<kLossThreads>(count, count_of_warps, Sum());
  if (threadIdx.x == 0)
    p.dst[0] = sum / (p.divisor == 0 ? static_cast<float>(max(count, 1u)) : p.divisor);
}

__global__ void loss_count(LossCountParams p) {
  __shared__ std::uint32_t count_of_warps[kWarps];
  std::uint32_t count = 0;
  for (std::uint32_t place = threadIdx.x; place < p.at.places; place += kLossThreads)
    count += is_ignored(p.at, p.labels[place]) ? 0 : 1;
  count = over_block<kLossThreads>(count, count_of_warps, Sum());
  if (threadIdx.x == 0) p.count[0] = count;
}

__global__ void softmax_loss_grad(LossGradParams p) {
  const std::uint32_t index = thread_index();
  const std::uint32_t row = index / p.at.inner, outer = row / p.at.classes;
  const std::uint32_t place = outer * p.at.inner + (index - row * p.at.inner);
  if (place >= p.at.places) return;
  const float label = p.labels[place], own = static_cast<float>(row - outer * p.at.classes);
  const float divisor = p.count == nullptr ? p.divisor : static_cast<float>(max(p.count[0], 1u));
  // Of what is no class nothing can be learned: the norm of the gradients shows it.
  const float wanted = label == own ? 1.0f : is_class(p.at, label) ? 0.0f : NAN;
  p.dst[index] =
      is_ignored(p.at, label) ? 0.0f : (p.shares[index] - wanted) * (p.gradient[0] / divisor);
}

__global__ void pair_loss_grad(PairGradParams p) {
  constexpr int N = kVector<float>;
  const Part part = part_of<N>(p.rows);
  if (part.count == 0) return;
  float came[N], wanted[N];
  load(p.came + part.row * p.came_stride + part.first, part.count, p.is_aligned, came);
  load(p.wanted + part.row * p.wanted_stride + part.first, part.count, p.is_aligned, wanted);
  const float factor = p.gradient[0] * p.factor;
#pragma unroll
  for (int i = 0; i < N; ++i) {
    const float value = p.is_sigmoid ? 1 / (1 + expf(-came[i])) : came[i];
    came[i] = (value - wanted[i]) * factor;
  }
  store(came, p.dst + part.row * p.dst_stride + part.first, part.count, p.is_aligned);
}

MARU_CUDA_FUNCTION("softmax_loss", softmax_loss)
MARU_CUDA_FUNCTION("softmax_loss_short", softmax_loss_short)
MARU_CUDA_FUNCTION("accuracy", accuracy)
MARU_CUDA_FUNCTION("accuracy_short", accuracy_short)
MARU_CUDA_FUNCTION("loss_end", loss_end)
MARU_CUDA_FUNCTION("loss_count", loss_count)
MARU_CUDA_FUNCTION("softmax_loss_grad", softmax_loss_grad)
MARU_CUDA_FUNCTION("pair_loss_grad", pair_loss_grad)

}  // namespace
}  // namespace maru::cuda
