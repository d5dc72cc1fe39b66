// Forward and backward alike: blocks reduce parts of the rows, one launch adds the parts up, always in
// the same order, and one writes the result. Statistics are merged as mean and sum of squares around it
// (Chan, Golub, LeVeque 1979), which single precision is enough for, however far from zero data is.
#include "backends/cuda/kernels/batch_norm.h"
#include "backends/cuda/kernels/vectors.cuh"

namespace maru::cuda {
namespace {

constexpr int kThreads = kBatchNormThreads;

// What a thread has: a vector of channels, and every so many rows of its block's part.
struct Share {
  std::uint32_t first;  // channel
  int count;            // of channels; 0 or less: none
  std::uint32_t row, end, step;
};

template <int N>
__device__ Share share_of(const BatchNormParams& p) {
  const std::uint32_t first = (blockIdx.y * blockDim.x + threadIdx.x) * N;
  const std::uint32_t begin = blockIdx.x * p.part_rows;
  const std::uint32_t end = min(begin + p.part_rows, p.rows);
  const int count = min(N, static_cast<int>(p.channels) - static_cast<int>(first));
  return {first, count, begin + threadIdx.y, end, blockDim.y};
}

// Where the thread's vector of a row begins.
template <bool kPlain>
__device__ std::int64_t offset_of(const BatchNormParams& p, std::int64_t stride, std::uint32_t first,
                                  std::uint32_t row) {
  if (!kPlain) return row * stride + first;
  const std::uint32_t image = row / p.pixels, pixel = row - image * p.pixels;
  return image * stride + static_cast<std::int64_t>(first) * p.pixels + pixel;
}

template <class T, int N, bool kPlain>
__device__ void load_row(const BatchNormParams& p, const BatchNormData& from, const Share& share,
                         std::uint32_t row, float (&value)[N]) {
  load(static_cast<const T*>(from.at) + offset_of<kPlain>(p, from.stride, share.first, row),
       share.count, from.is_aligned, value);
}

// Channels that are not there get `rest`.
template <int N>
__device__ void load_channels(const float* from, const Share& share, float rest, float (&value)[N]) {
#pragma unroll
  for (int i = 0; i < N; ++i) value[i] = i < share.count ? from[share.first + i] : rest;
}

// Elements that were seen, their mean, and the sum of squares around it.
struct Moments {
  float count, mean, squares;
};

__device__ Moments merge(const Moments& a, const Moments& b) {
  if (b.count == 0) return a;
  const float count = a.count + b.count, share = b.count / count, apart = b.mean - a.mean;
  return {count, a.mean + apart * share, a.squares + b.squares + apart * apart * a.count * share};
}

template <class T, int N, bool kPlain>
__global__ void __launch_bounds__(kThreads) moments(BatchNormParams p) {
  constexpr int kAtOnce = 4;  // rows
  const Share share = share_of<N>(p);
  float count = 0, mean[N] = {}, squares[N] = {};
  if (share.count > 0) {
    for (std::uint32_t row = share.row; row < share.end; row += kAtOnce * share.step) {
      float value[kAtOnce][N];
      int seen = 0;
#pragma unroll
      for (int u = 0; u < kAtOnce; ++u) {
        const std::uint32_t at = row + u * share.step;
        if (at >= share.end) continue;
        load_row<T, N, kPlain>(p, p.x, share, at, value[u]);
        ++seen;
      }
      const float here = static_cast<float>(seen), inverse = 1 / here;
      const float part = here / (count + here), weight = count * part;
#pragma unroll
      for (int i = 0; i < N; ++i) {
        float sum = 0, around = 0;
#pragma unroll
        for (int u = 0; u < kAtOnce; ++u) {
          if (u < seen) sum += value[u][i];
        }
        const float middle = sum * inverse;
#pragma unroll
        for (int u = 0; u < kAtOnce; ++u) {
          if (u < seen) around = fmaf(value[u][i] - middle, value[u][i] - middle, around);
        }
        const float apart = middle - mean[i];
        mean[i] = fmaf(apart, part, mean[i]);
        squares[i] += fmaf(apart * apart, weight, around);
      }
      count += here;
    }
  }
  // The rows of the block, in halves.
  __shared__ float counts[kThreads], means[N * kThreads], all_squares[N * kThreads];
  const std::uint32_t thread = threadIdx.y * blockDim.x + threadIdx.x;
  counts[thread] = count;
#pragma unroll
  for (int i = 0; i < N; ++i) {
    means[i * kThreads + thread] = mean[i];
    all_squares[i * kThreads + thread] = squares[i];
  }
  for (std::uint32_t apart = blockDim.y / 2; apart > 0; apart /= 2) {
    __syncthreads();
    if (threadIdx.y >= apart) continue;
    const std::uint32_t other = thread + apart * blockDim.x;
    Moments merged{};
#pragma unroll
    for (int i = 0; i < N; ++i) {
      float &to_mean = means[i * kThreads + thread], &to_squares = all_squares[i * kThreads + thread];
      merged = merge({counts[thread], to_mean, to_squares},
                     {counts[other], means[i * kThreads + other], all_squares[i * kThreads + other]});
      to_mean = merged.mean;
      to_squares = merged.squares;
    }
    counts[thread] = merged.count;
  }
  if (threadIdx.y != 0) return;
  float* to = p.parts + static_cast<std::int64_t>(blockIdx.x) * 2 * p.channels + share.first;
#pragma unroll
  for (int i = 0; i < N; ++i) {
    if (i >= share.count) continue;
    to[i] = means[i * kThreads + thread];
    to[p.channels + i] = all_squares[i * kThreads + thread];
  }
}

// Calls f with the channel and what all parts have of it together, in one thread a channel. `none` is
// neutral, `part(index, channel)` what one part has.
template <class V, class Part, class Merge, class F>
__device__ void over_parts(const BatchNormParams& p, V none, Part part, Merge merge_two, F f) {
  __shared__ V all[kBatchNormParts][kBatchNormChannels];
  const std::uint32_t channel = blockIdx.x * kBatchNormChannels + threadIdx.x;
  V value = none;
  if (channel < p.channels) {
#pragma unroll 4
    for (std::uint32_t i = threadIdx.y; i < p.part_count; i += kBatchNormParts)
      value = merge_two(value, part(i, channel));
  }
  all[threadIdx.y][threadIdx.x] = value;
  for (int apart = kBatchNormParts / 2; apart > 0; apart /= 2) {
    __syncthreads();
    if (threadIdx.y < apart)
      all[threadIdx.y][threadIdx.x] =
          merge_two(all[threadIdx.y][threadIdx.x], all[threadIdx.y + apart][threadIdx.x]);
  }
  // The thread has written what it reads.
  if (threadIdx.y == 0 && channel < p.channels) f(channel, all[0][threadIdx.x]);
}

__global__ void __launch_bounds__(kBatchNormChannels* kBatchNormParts) statistics(BatchNormParams p) {
  const auto part = [&](std::uint32_t index, std::uint32_t channel) {
    const float* from = p.parts + static_cast<std::int64_t>(index) * 2 * p.channels + channel;
    const std::uint32_t rows = min(p.part_rows, p.rows - index * p.part_rows);
    return Moments{static_cast<float>(rows), from[0], from[p.channels]};
  };
  const auto both = [](const Moments& a, const Moments& b) { return merge(a, b); };
  over_parts(p, Moments{0, 0, 0}, part, both, [&](std::uint32_t channel, const Moments& found) {
    const float variance = found.squares / static_cast<float>(p.rows);
    const float scale = p.scale != nullptr ? p.scale[channel] : 1;
    const float bias = p.bias != nullptr ? p.bias[channel] : 0;
    p.coefficients[channel] = found.mean;
    p.coefficients[p.channels + channel] = scale / sqrtf(variance + p.epsilon);
    p.coefficients[2 * p.channels + channel] = bias;
    p.mean[channel] = found.mean;
    p.variance[channel] = variance;
  });
}

__device__ float activate(float z, float slope) { return z > 0 ? z : slope * z; }

template <class T, int N, bool kPlain>
__global__ void __launch_bounds__(kThreads) normalise(BatchNormParams p) {
  constexpr int kAtOnce = 4;
  const Share share = share_of<N>(p);
  if (share.count <= 0) return;
  float mean[N], factor[N], bias[N];
  load_channels(p.coefficients, share, 0, mean);
  load_channels(p.coefficients + p.channels, share, 0, factor);
  load_channels(p.coefficients + 2 * p.channels, share, 0, bias);
  for (std::uint32_t row = share.row; row < share.end; row += kAtOnce * share.step) {
    float value[kAtOnce][N];
#pragma unroll
    for (int u = 0; u < kAtOnce; ++u) {
      const std::uint32_t at = row + u * share.step;
      if (at < share.end) load_row<T, N, kPlain>(p, p.x, share, at, value[u]);
    }
#pragma unroll
    for (int u = 0; u < kAtOnce; ++u) {
      const std::uint32_t at = row + u * share.step;
      if (at >= share.end) continue;
#pragma unroll
      for (int i = 0; i < N; ++i)
        value[u][i] = activate(fmaf(value[u][i] - mean[i], factor[i], bias[i]), p.slope);
      store(value[u], static_cast<T*>(p.dst) + offset_of<kPlain>(p, p.dst_stride, share.first, at),
            share.count, p.is_dst_aligned);
    }
  }
}

// The gradient before the activation, of which the sign of its operand tells the slope.
__device__ float before_activation(float gradient, float centred, float factor, float bias,
                                   float slope) {
  return fmaf(centred, factor, bias) > 0 ? gradient : slope * gradient;
}

// Sums of the gradient before the activation, and of its products with x less the mean.
template <class T, int N, bool kPlain>
__global__ void __launch_bounds__(kThreads) gradient_sums(BatchNormParams p) {
  constexpr int kAtOnce = 2;
  const Share share = share_of<N>(p);
  float sums[N] = {}, products[N] = {};
  if (share.count > 0) {
    float mean[N], factor[N], bias[N];
    load_channels(p.mean, share, 0, mean);
    load_channels(p.variance, share, 1, factor);
#pragma unroll
    for (int i = 0; i < N; ++i) {
      factor[i] = 1 / sqrtf(factor[i] + p.epsilon);
      bias[i] = 0;
    }
    if (p.scale != nullptr) {
      float scale[N];
      load_channels(p.scale, share, 0, scale);
      load_channels(p.bias, share, 0, bias);
#pragma unroll
      for (int i = 0; i < N; ++i) factor[i] *= scale[i];
    }
    for (std::uint32_t row = share.row; row < share.end; row += kAtOnce * share.step) {
      float x[kAtOnce][N], gradient[kAtOnce][N];
#pragma unroll
      for (int u = 0; u < kAtOnce; ++u) {
        const std::uint32_t at = row + u * share.step;
        if (at >= share.end) continue;
        load_row<T, N, kPlain>(p, p.x, share, at, x[u]);
        load_row<T, N, kPlain>(p, p.gradient, share, at, gradient[u]);
      }
#pragma unroll
      for (int u = 0; u < kAtOnce; ++u) {
        if (row + u * share.step >= share.end) continue;
#pragma unroll
        for (int i = 0; i < N; ++i) {
          const float centred = x[u][i] - mean[i];
          const float h = before_activation(gradient[u][i], centred, factor[i], bias[i], p.slope);
          sums[i] += h;
          products[i] = fmaf(h, centred, products[i]);
        }
      }
    }
  }
  __shared__ float all_sums[N * kThreads], all_products[N * kThreads];
  const std::uint32_t thread = threadIdx.y * blockDim.x + threadIdx.x;
#pragma unroll
  for (int i = 0; i < N; ++i) {
    all_sums[i * kThreads + thread] = sums[i];
    all_products[i * kThreads + thread] = products[i];
  }
  for (std::uint32_t apart = blockDim.y / 2; apart > 0; apart /= 2) {
    __syncthreads();
    if (threadIdx.y >= apart) continue;
    const std::uint32_t other = thread + apart * blockDim.x;
#pragma unroll
    for (int i = 0; i < N; ++i) {
      all_sums[i * kThreads + thread] += all_sums[i * kThreads + other];
      all_products[i * kThreads + thread] += all_products[i * kThreads + other];
    }
  }
  if (threadIdx.y != 0) return;
  float* to = p.parts + static_cast<std::int64_t>(blockIdx.x) * 2 * p.channels + share.first;
#pragma unroll
  for (int i = 0; i < N; ++i) {
    if (i >= share.count) continue;
    to[i] = all_sums[i * kThreads + thread];
    to[p.channels + i] = all_products[i * kThreads + thread];
  }
}

// Reads of a channel all that it needs before it writes any: a result may be where an operand was.
__global__ void __launch_bounds__(kBatchNormChannels* kBatchNormParts)
    gradient_factors(BatchNormParams p) {
  const auto part = [&](std::uint32_t index, std::uint32_t channel) {
    const float* from = p.parts + static_cast<std::int64_t>(index) * 2 * p.channels + channel;
    return float2{from[0], from[p.channels]};
  };
  const auto add = [](const float2& a, const float2& b) { return float2{a.x + b.x, a.y + b.y}; };
  over_parts(p, float2{0, 0}, part, add, [&](std::uint32_t channel, const float2& found) {
    const float inverse = 1 / sqrtf(p.variance[channel] + p.epsilon), mean = p.mean[channel];
    const float factor = p.scale != nullptr ? inverse * p.scale[channel] : inverse;
    const float bias = p.scale != nullptr ? p.bias[channel] : 0;
    const float rows = static_cast<float>(p.rows);
    p.coefficients[channel] = mean;
    p.coefficients[p.channels + channel] = factor;
    p.coefficients[2 * p.channels + channel] = bias;
    p.coefficients[3 * p.channels + channel] = -factor * inverse * (inverse * found.y / rows);
    p.coefficients[4 * p.channels + channel] = -factor * (found.x / rows);
    if (p.scale == nullptr) return;
    p.scale_gradient[channel] = found.y * inverse;
    p.bias_gradient[channel] = found.x;
  });
}

template <class T, int N, bool kPlain>
__global__ void __launch_bounds__(kThreads) gradient_result(BatchNormParams p) {
  constexpr int kAtOnce = 2;
  const Share share = share_of<N>(p);
  if (share.count <= 0) return;
  float mean[N], factor[N], bias[N], by_x[N], rest[N];
  load_channels(p.coefficients, share, 0, mean);
  load_channels(p.coefficients + p.channels, share, 0, factor);
  load_channels(p.coefficients + 2 * p.channels, share, 0, bias);
  load_channels(p.coefficients + 3 * p.channels, share, 0, by_x);
  load_channels(p.coefficients + 4 * p.channels, share, 0, rest);
  for (std::uint32_t row = share.row; row < share.end; row += kAtOnce * share.step) {
    float x[kAtOnce][N], gradient[kAtOnce][N];
#pragma unroll
    for (int u = 0; u < kAtOnce; ++u) {
      const std::uint32_t at = row + u * share.step;
      if (at >= share.end) continue;
      load_row<T, N, kPlain>(p, p.x, share, at, x[u]);
      load_row<T, N, kPlain>(p, p.gradient, share, at, gradient[u]);
    }
#pragma unroll
    for (int u = 0; u < kAtOnce; ++u) {
      const std::uint32_t at = row + u * share.step;
      if (at >= share.end) continue;
#pragma unroll
      for (int i = 0; i < N; ++i) {
        const float centred = x[u][i] - mean[i];
        const float h = before_activation(gradient[u][i], centred, factor[i], bias[i], p.slope);
        x[u][i] = fmaf(factor[i], h, fmaf(by_x[i], centred, rest[i]));
      }
      store(x[u], static_cast<T*>(p.dst) + offset_of<kPlain>(p, p.dst_stride, share.first, at),
            share.count, p.is_dst_aligned);
    }
  }
}

// In place, element by element.
__global__ void running(RunningStatisticsParams p) {
  const std::uint32_t channel = thread_index();
  if (channel >= p.channels) return;
  p.means[channel] = fmaf(p.fraction, p.src_means[channel], p.mean[channel]);
  p.variances[channel] = fmaf(p.fraction, p.src_variances[channel], p.correction * p.variance[channel]);
  if (channel == 0) *p.factor = fmaf(p.fraction, *p.src_factor, 1.0f);
}

MARU_CUDA_FUNCTION("batch_norm_moments_f32", moments<float, kVector<float>, false>)
MARU_CUDA_FUNCTION("batch_norm_moments_f16", moments<__half, kVector<__half>, false>)
MARU_CUDA_FUNCTION("batch_norm_moments_plain_f32", moments<float, 1, true>)
MARU_CUDA_FUNCTION("batch_norm_moments_plain_f16", moments<__half, 1, true>)
MARU_CUDA_FUNCTION("batch_norm_statistics", statistics)
MARU_CUDA_FUNCTION("batch_norm_result_f32", normalise<float, kVector<float>, false>)
MARU_CUDA_FUNCTION("batch_norm_result_f16", normalise<__half, kVector<__half>, false>)
MARU_CUDA_FUNCTION("batch_norm_result_plain_f32", normalise<float, 1, true>)
MARU_CUDA_FUNCTION("batch_norm_result_plain_f16", normalise<__half, 1, true>)
MARU_CUDA_FUNCTION("batch_norm_sums_f32", gradient_sums<float, kVector<float>, false>)
MARU_CUDA_FUNCTION("batch_norm_sums_f16", gradient_sums<__half, kVector<__half>, false>)
MARU_CUDA_FUNCTION("batch_norm_sums_plain_f32", gradient_sums<float, 1, true>)
MARU_CUDA_FUNCTION("batch_norm_sums_plain_f16", gradient_sums<__half, 1, true>)
MARU_CUDA_FUNCTION("batch_norm_factors", gradient_factors)
MARU_CUDA_FUNCTION("batch_norm_grad_f32", gradient_result<float, kVector<float>, false>)
MARU_CUDA_FUNCTION("batch_norm_grad_f16", gradient_result<__half, kVector<__half>, false>)
MARU_CUDA_FUNCTION("batch_norm_grad_plain_f32", gradient_result<float, 1, true>)
MARU_CUDA_FUNCTION("batch_norm_grad_plain_f16", gradient_result<__half, 1, true>)
MARU_CUDA_FUNCTION("running_statistics", running)

}  // namespace
}  // namespace maru::cuda
