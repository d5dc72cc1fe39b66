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

}  // namespace maru::cuda
