#include "backends/cuda/kernels/images.cuh"
#include "backends/cuda/kernels/lrn.cuh"
#include "backends/cuda/kernels/lrn_grad.h"

namespace maru::cuda {
namespace {

// Across 2 kHalf + 1 channels that are neighbours, twice kHalf being no more than a vector.
template <int kHalf, class T>
__global__ void lrn_grad_across(LrnGradParams p) {
  constexpr int N = kVector<T>, kReach = 2 * kHalf;
  static_assert(kReach <= N);
  const Spot spot = spot_of<N>(p.images, p.channels, p.height * p.width);
  if (spot.count == 0) return;
  const T* src = static_cast<const T*>(p.src) + spot.image * p.src_strides.image + spot.channel +
                 spot.pixel * p.src_strides.pixel;
  const T* gradient = static_cast<const T*>(p.gradient) + spot.image * p.gradient_strides.image +
                      spot.channel + spot.pixel * p.gradient_strides.pixel;
  // Of the vectors before, here and behind; zero where there is no channel.
  float x[3][N] = {}, g[3][N] = {};
  const auto fetch = [&](int vector) {
    const int at = (vector - 1) * N, left = static_cast<int>(p.channels) - spot.channel - at;
    if (spot.channel + at < 0 || left <= 0) return;
    load(src + at, min(left, N), p.is_src_aligned, x[vector]);
    load(gradient + at, min(left, N), p.is_gradient_aligned, g[vector]);
  };
  fetch(0);
  fetch(1);
  fetch(2);

  // Index i: kReach channels before the own ones, and behind.
  float squares[N + 2 * kReach];
#pragma unroll
  for (int i = 0; i < N + 2 * kReach; ++i) {
    const float one = x[(N - kReach + i) / N][(N - kReach + i) % N];
    squares[i] = one * one;
  }
  // Index i: kHalf before and behind.
  float parts[N + 2 * kHalf], powers[N + 2 * kHalf];
#pragma unroll
  for (int i = 0; i < N + 2 * kHalf; ++i) {
    float sum = 0;
#pragma unroll
    for (int k = 0; k <= 2 * kHalf; ++k) sum += squares[i + k];
    const float base = p.terms.k + p.terms.weight * sum;
    powers[i] = power(base, -p.terms.beta);
    const int at = N - kHalf + i, channel = spot.channel - kHalf + i;
    const bool is_there = channel >= 0 && channel < static_cast<int>(p.channels);
    parts[i] = is_there ? g[at / N][at % N] * x[at / N][at % N] * powers[i] / base : 0.0f;
  }
  float result[N];
#pragma unroll
  for (int i = 0; i < N; ++i) {
    float sum = 0;
#pragma unroll
    for (int k = 0; k <= 2 * kHalf; ++k) sum += parts[i + k];
    result[i] = g[1][i] * powers[kHalf + i] - 2 * p.terms.beta * p.terms.weight * x[1][i] * sum;
  }
  T* dst = static_cast<T*>(p.dst) + spot.image * p.dst_strides.image + spot.channel +
           spot.pixel * p.dst_strides.pixel;
  store(result, dst, spot.count, p.is_dst_aligned);
}

// Calls f(where a vector around the own one is, in elements from the own one, for each of its elements
// that counts) for all around: whole vectors within a channel, single elements across channels.
template <int N, class F>
__device__ void each_around(const LrnGradParams& p, const Spot& spot, F f) {
  const int half = p.terms.size / 2;
  if (p.terms.is_across) {
#pragma unroll
    for (int i = 0; i < N; ++i) {
      const int channel = spot.channel + i;
      if (i >= spot.count) continue;
      const int end = min(static_cast<int>(p.channels) - 1, channel + half);
      for (int c = max(0, channel - half); c <= end; ++c)
        f(i, c - spot.channel, static_cast<int>(spot.pixel));
    }
    return;
  }
  const int row = static_cast<int>(spot.pixel) / p.width;
  const int column = static_cast<int>(spot.pixel) - row * p.width;
  const int last_row = min(p.height - 1, row + half), last_column = min(p.width - 1, column + half);
  for (int y = max(0, row - half); y <= last_row; ++y) {
    for (int x = max(0, column - half); x <= last_column; ++x) {
#pragma unroll
      for (int i = 0; i < N; ++i) {
        if (i < spot.count) f(i, i, y * p.width + x);
      }
    }
  }
}

// What the squares around give, for each element of the own vector. `src`: the image's first pixel, at
// the spot's first channel.
template <int N, class T>
__device__ void bases_of(const LrnGradParams& p, const Spot& spot, const T* src, float (&base)[N]) {
  float sum[N] = {};
  each_around<N>(p, spot, [&](int i, int channel, int pixel) {
    const float x = to_float(src[channel * p.src_strides.channel + pixel * p.src_strides.pixel]);
    sum[i] += x * x;
  });
#pragma unroll
  for (int i = 0; i < N; ++i) base[i] = p.terms.k + p.terms.weight * sum[i];
}

template <class T>
__device__ const T* at_channel(const void* images, const ImageStrides& strides, const Spot& spot) {
  return static_cast<const T*>(images) + spot.image * strides.image + spot.channel * strides.channel;
}

template <class T, int N>
__global__ void lrn_parts(LrnGradParams p) {
  const Spot spot = spot_of<N>(p.images, p.channels, p.height * p.width);
  if (spot.count == 0) return;
  const T* src = at_channel<T>(p.src, p.src_strides, spot);
  const T* gradient = at_channel<T>(p.gradient, p.gradient_strides, spot);
  float base[N], x[N], g[N], part[N];
  bases_of(p, spot, src, base);
  load(src + spot.pixel * p.src_strides.pixel, spot.count, p.is_src_aligned, x);
  load(gradient + spot.pixel * p.gradient_strides.pixel, spot.count, p.is_gradient_aligned, g);
#pragma unroll
  for (int i = 0; i < N; ++i) part[i] = g[i] * x[i] * power(base[i], -p.terms.beta) / base[i];
  float* parts = p.parts + spot.image * p.part_strides.image + spot.channel * p.part_strides.channel +
                 spot.pixel * p.part_strides.pixel;
  store(part, parts, spot.count, true);
}

template <class T, int N>
__global__ void lrn_grad(LrnGradParams p) {
  const Spot spot = spot_of<N>(p.images, p.channels, p.height * p.width);
  if (spot.count == 0) return;
  const T* src = at_channel<T>(p.src, p.src_strides, spot);
  const T* gradient = at_channel<T>(p.gradient, p.gradient_strides, spot);
  const float* parts = at_channel<float>(p.parts, p.part_strides, spot);
  float base[N], x[N], g[N], sum[N] = {};
  bases_of(p, spot, src, base);
  load(src + spot.pixel * p.src_strides.pixel, spot.count, p.is_src_aligned, x);
  load(gradient + spot.pixel * p.gradient_strides.pixel, spot.count, p.is_gradient_aligned, g);
  each_around<N>(p, spot, [&](int i, int channel, int pixel) {
    sum[i] += parts[channel * p.part_strides.channel + pixel * p.part_strides.pixel];
  });
#pragma unroll
  for (int i = 0; i < N; ++i) {
    g[i] = g[i] * power(base[i], -p.terms.beta) - 2 * p.terms.beta * p.terms.weight * x[i] * sum[i];
  }
  T* dst = static_cast<T*>(p.dst) + spot.image * p.dst_strides.image +
           spot.channel * p.dst_strides.channel + spot.pixel * p.dst_strides.pixel;
  store(g, dst, spot.count, p.is_dst_aligned);
}

MARU_CUDA_FUNCTION("lrn_grad_3_f32", lrn_grad_across<1, float>)
MARU_CUDA_FUNCTION("lrn_grad_3_f16", lrn_grad_across<1, __half>)
MARU_CUDA_FUNCTION("lrn_grad_5_f32", lrn_grad_across<2, float>)
MARU_CUDA_FUNCTION("lrn_grad_5_f16", lrn_grad_across<2, __half>)
MARU_CUDA_FUNCTION("lrn_parts_f32", lrn_parts<float, kVector<float>>)
MARU_CUDA_FUNCTION("lrn_parts_f16", lrn_parts<__half, kVector<__half>>)
MARU_CUDA_FUNCTION("lrn_parts_plain_f32", lrn_parts<float, 1>)
MARU_CUDA_FUNCTION("lrn_parts_plain_f16", lrn_parts<__half, 1>)
MARU_CUDA_FUNCTION("lrn_grad_f32", lrn_grad<float, kVector<float>>)
MARU_CUDA_FUNCTION("lrn_grad_f16", lrn_grad<__half, kVector<__half>>)
MARU_CUDA_FUNCTION("lrn_grad_plain_f32", lrn_grad<float, 1>)
MARU_CUDA_FUNCTION("lrn_grad_plain_f16", lrn_grad<__half, 1>)

}  // namespace
}  // namespace maru::cuda
