#include "backends/cuda/kernels/images.cuh"
#include "backends/cuda/kernels/lrn.cuh"
#include "backends/cuda/kernels/lrn.h"

namespace maru::cuda {
namespace {

// `src` is at the spot's pixel and first channel. The neighbours are in the vectors before and behind.
template <int kHalf, class T, int N>
__device__ void across_vectors(const LrnParams& p, const Spot& spot, const T* src, float (&value)[N]) {
  float before[N] = {}, behind[N] = {};
  if (spot.channel > 0) load(src - N, N, p.is_aligned, before);
  const int left = static_cast<int>(p.channels) - spot.channel - N;
  if (left > 0) load(src + N, min(left, N), p.is_aligned, behind);
  normalise<kHalf>(p.terms, before, behind, value);
}

// Any size: element by element.
template <class T, int N>
__device__ void across(const LrnParams& p, const Spot& spot, const T* src, float (&value)[N]) {
  const int half = p.terms.size / 2, last = static_cast<int>(p.channels) - 1;
#pragma unroll
  for (int i = 0; i < N; ++i) {
    const int channel = spot.channel + i, end = min(last, channel + half);
    float sum = 0;
    for (int c = max(0, channel - half); c <= end; ++c) {
      const float x = to_float(src[(c - spot.channel) * p.src_strides.channel]);
      sum += x * x;
    }
    value[i] = normalised(p.terms, value[i], sum);
  }
}

// `src` is at the first pixel.
template <class T, int N>
__device__ void within(const LrnParams& p, const Spot& spot, const T* src, float (&value)[N]) {
  const int half = p.terms.size / 2;
  const int row = static_cast<int>(spot.pixel) / p.width;
  const int column = static_cast<int>(spot.pixel) - row * p.width;
  const int last_row = min(p.height - 1, row + half), last_column = min(p.width - 1, column + half);
  float sum[N] = {};
  for (int y = max(0, row - half); y <= last_row; ++y) {
    for (int x = max(0, column - half); x <= last_column; ++x) {
      float one[N];
      load(src + (y * p.width + x) * p.src_strides.pixel, spot.count, p.is_aligned, one);
#pragma unroll
      for (int i = 0; i < N; ++i) sum[i] += one[i] * one[i];
    }
  }
#pragma unroll
  for (int i = 0; i < N; ++i) value[i] = normalised(p.terms, value[i], sum[i]);
}

template <class T, int N>
__global__ void lrn(LrnParams p) {
  const Spot spot = spot_of<N>(p.images, p.channels, p.height * p.width);
  if (spot.count == 0) return;
  const T* image = static_cast<const T*>(p.src) + spot.image * p.src_strides.image +
                   spot.channel * p.src_strides.channel;
  const T* src = image + spot.pixel * p.src_strides.pixel;
  float value[N];
  load(src, spot.count, p.is_aligned, value);
  if (!p.terms.is_across) {
    within(p, spot, image, value);
  } else if (N > 1 && p.terms.size == 5) {
    across_vectors<N == 1 ? 1 : 2>(p, spot, src, value);
  } else if (N > 1 && p.terms.size == 3) {
    across_vectors<1>(p, spot, src, value);
  } else {
    across(p, spot, src, value);
  }
  T* dst = static_cast<T*>(p.dst) + spot.image * p.dst_strides.image +
           spot.channel * p.dst_strides.channel + spot.pixel * p.dst_strides.pixel;
  store(value, dst, spot.count, p.is_aligned);
}

MARU_CUDA_FUNCTION("lrn_f32", lrn<float, kVector<float>>)
MARU_CUDA_FUNCTION("lrn_f16", lrn<__half, kVector<__half>>)
MARU_CUDA_FUNCTION("lrn_plain_f32", lrn<float, 1>)
MARU_CUDA_FUNCTION("lrn_plain_f16", lrn<__half, 1>)

}  // namespace
}  // namespace maru::cuda
