// Pooling of one window, for every function that does it.
#pragma once

#include "backends/cuda/kernels/pool.h"
#include "backends/cuda/kernels/vectors.cuh"

namespace maru::cuda {

// What a window covers: taps in the image, and how many an average divides by.
struct Taps {
  int top, bottom, left, right;  // rows [top, bottom), columns [left, right)
  float counted;
};

__device__ inline Taps taps_of(const PoolWindow& window, std::uint32_t dst_pixel) {
  const int row = static_cast<int>(dst_pixel / static_cast<std::uint32_t>(window.dst_width));
  const int column = static_cast<int>(dst_pixel) - row * window.dst_width;
  const int top = row * window.stride[0] - window.pad[0];
  const int left = column * window.stride[1] - window.pad[1];
  // What lies behind the padding does not count; the padding itself does, for one divisor.
  const int bottom = min(top + window.kernel[0], window.height + window.pad[0]);
  const int right = min(left + window.kernel[1], window.width + window.pad[1]);
  Taps taps{max(top, 0), min(bottom, window.height), max(left, 0), min(right, window.width), 1};
  if (window.kind == PoolWindow::Kind::average_padded) {
    taps.counted = static_cast<float>((bottom - top) * (right - left));
  } else {
    taps.counted = static_cast<float>((taps.bottom - taps.top) * (taps.right - taps.left));
  }
  return taps;
}

// The pooled vector: `read(row, column, value)` gives the one of a pixel of the image.
template <int N, class Read>
__device__ void pool_taps(PoolWindow::Kind kind, const Taps& taps, float (&result)[N], Read read) {
  const bool is_max = kind == PoolWindow::Kind::max;
#pragma unroll
  for (float& one : result) one = is_max ? -INFINITY : 0.0f;
  for (int y = taps.top; y < taps.bottom; ++y) {
#pragma unroll 3
    for (int x = taps.left; x < taps.right; ++x) {
      float value[N];
      read(y, x, value);
#pragma unroll
      for (int i = 0; i < N; ++i)
        result[i] = is_max ? fmaxf(result[i], value[i]) : result[i] + value[i];
    }
  }
  if (is_max) return;
#pragma unroll
  for (float& one : result) one /= taps.counted;
}

__device__ inline void raise(Elements<float, kVector<float>>& most,
                             const Elements<float, kVector<float>>& value) {
#pragma unroll
  for (int i = 0; i < kVector<float>; ++i) most.at[i] = fmaxf(most.at[i], value.at[i]);
}
__device__ inline void raise(Elements<__half, kVector<__half>>& most,
                             const Elements<__half, kVector<__half>>& value) {
#pragma unroll
  for (int i = 0; i < kVector<__half>; i += 2) {
    auto* pair = reinterpret_cast<__half2*>(most.at + i);
    *pair = __hmax2(*pair, *reinterpret_cast<const __half2*>(value.at + i));
  }
}

// Of at most 3 x 3 taps, all loaded at once: those beyond the last are the last again.
template <class T, int N>
__device__ void most_of_taps(const PoolParams& p, const Taps& taps, const T* src, float (&result)[N]) {
  constexpr int kSide = 3;
  Elements<T, N> values[kSide][kSide];
#pragma unroll
  for (int i = 0; i < kSide; ++i) {
#pragma unroll
    for (int k = 0; k < kSide; ++k) {
      const int y = min(taps.top + i, taps.bottom - 1), x = min(taps.left + k, taps.right - 1);
      values[i][k] = *reinterpret_cast<const Elements<T, N>*>(src + (y * p.window.width + x) *
                                                                        p.src_strides.pixel);
    }
  }
#pragma unroll
  for (int i = 1; i < kSide * kSide; ++i) raise(values[0][0], values[i / kSide][i % kSide]);
#pragma unroll
  for (int i = 0; i < N; ++i) result[i] = to_float(values[0][0].at[i]);
}

// One vector of the result. `src`: the image's first pixel, at the vector's first channel.
template <class T, int N>
__device__ void pool_at(const PoolParams& p, std::uint32_t dst_pixel, const T* src, int count,
                        float (&result)[N]) {
  const PoolWindow& window = p.window;
  const Taps taps = taps_of(window, dst_pixel);
  if constexpr (N > 1) {
    if (count == N && p.is_aligned && window.kind == PoolWindow::Kind::max && window.kernel[0] <= 3 &&
        window.kernel[1] <= 3) {
      most_of_taps(p, taps, src, result);
      return;
    }
  }
  pool_taps<N>(window.kind, taps, result, [&](int y, int x, float(&value)[N]) {
    load(src + (y * window.width + x) * p.src_strides.pixel, count, p.is_aligned, value);
  });
}

}  // namespace maru::cuda
