#include <type_traits>

#include "backends/cuda/kernels/images.cuh"
#include "backends/cuda/kernels/pool_grad.h"

namespace maru::cuda {
namespace {

__device__ TapSpan rows_of_window(const PoolWindow& window, int at) {
  return taps_with(window, 0, window.height, at);
}
__device__ TapSpan columns_of_window(const PoolWindow& window, int at) {
  return taps_with(window, 1, window.width, at);
}

// A thread for each vector of windows: the first tap in rows that none exceeds.
template <class T, int N, class Tap>
__global__ void pool_most(PoolGradParams p) {
  const PoolWindow& window = p.window;
  const Spot spot = spot_of<N>(p.images, p.channels, window.dst_height * window.dst_width);
  if (spot.count == 0) return;
  const int row = static_cast<int>(spot.pixel) / window.dst_width;
  const TapSpan rows = rows_of_window(window, row);
  const TapSpan columns =
      columns_of_window(window, static_cast<int>(spot.pixel) - row * window.dst_width);
  const T* src = static_cast<const T*>(p.src) + spot.image * p.src_strides.image +
                 spot.channel * p.src_strides.channel;
  float most[N];
  std::int32_t tap_of_most[N];
  const std::int32_t first =
      (rows.begin - rows.origin) * window.kernel[1] + columns.begin - columns.origin;
  load(src + (rows.begin * window.width + columns.begin) * p.src_strides.pixel, spot.count,
       p.is_src_aligned, most);
#pragma unroll
  for (std::int32_t& tap : tap_of_most) tap = first;
  for (int y = rows.begin; y < rows.end; ++y) {
#pragma unroll 3
    for (int x = columns.begin; x < columns.end; ++x) {
      float value[N];
      load(src + (y * window.width + x) * p.src_strides.pixel, spot.count, p.is_src_aligned, value);
      const std::int32_t tap = (y - rows.origin) * window.kernel[1] + x - columns.origin;
#pragma unroll
      for (int i = 0; i < N; ++i) {
        if (value[i] > most[i]) {
          most[i] = value[i];
          tap_of_most[i] = tap;
        }
      }
    }
  }
  Elements<Tap, N> taps;
#pragma unroll
  for (int i = 0; i < N; ++i) taps.at[i] = static_cast<Tap>(tap_of_most[i]);
  *reinterpret_cast<Elements<Tap, N>*>(static_cast<Tap*>(p.taps) + spot.image * p.tap_strides.image +
                                       spot.channel * p.tap_strides.channel +
                                       spot.pixel * p.tap_strides.pixel) = taps;
}

// Tap void: of an average.
template <class T, int N, class Tap>
__global__ void pool_grad(PoolGradParams p) {
  constexpr bool kIsMax = !std::is_void_v<Tap>;
  const PoolWindow& window = p.window;
  const Spot spot = spot_of<N>(p.images, p.channels, window.height * window.width);
  if (spot.count == 0) return;
  const int y = static_cast<int>(spot.pixel) / window.width;
  const int x = static_cast<int>(spot.pixel) - y * window.width;
  const WindowSpan rows = windows_with(window, 0, window.dst_height, y);
  const WindowSpan columns = windows_with(window, 1, window.dst_width, x);
  const T* gradient = static_cast<const T*>(p.gradient) + spot.image * p.gradient_strides.image +
                      spot.channel * p.gradient_strides.channel;
  float sum[N] = {};
  for (int row = rows.first; row < rows.last; ++row) {
    const TapSpan row_taps = rows_of_window(window, row);
#pragma unroll 3
    for (int column = columns.first; column < columns.last; ++column) {
      const TapSpan column_taps = columns_of_window(window, column);
      const int at = row * window.dst_width + column;
      float share[N];
      load(gradient + at * p.gradient_strides.pixel, spot.count, p.is_gradient_aligned, share);
      if constexpr (kIsMax) {
        const auto taps = *reinterpret_cast<const Elements<Tap, N>*>(
            static_cast<const Tap*>(p.taps) + spot.image * p.tap_strides.image +
            spot.channel * p.tap_strides.channel + at * p.tap_strides.pixel);
        const auto own =
            static_cast<Tap>((y - row_taps.origin) * window.kernel[1] + x - column_taps.origin);
#pragma unroll
        for (int i = 0; i < N; ++i) sum[i] += taps.at[i] == own ? share[i] : 0.0f;
      } else {
        const float counted = static_cast<float>(row_taps.counted * column_taps.counted);
#pragma unroll
        for (int i = 0; i < N; ++i) sum[i] += share[i] / counted;
      }
    }
  }
  T* dst = static_cast<T*>(p.dst) + spot.image * p.dst_strides.image +
           spot.channel * p.dst_strides.channel + spot.pixel * p.dst_strides.pixel;
  store(sum, dst, spot.count, p.is_dst_aligned);
}

using Byte = std::uint8_t;
using Word = std::int32_t;

MARU_CUDA_FUNCTION("pool_most_f32", pool_most<float, kVector<float>, Byte>)
MARU_CUDA_FUNCTION("pool_most_f16", pool_most<__half, kVector<__half>, Byte>)
MARU_CUDA_FUNCTION("pool_most_plain_f32", pool_most<float, 1, Byte>)
MARU_CUDA_FUNCTION("pool_most_plain_f16", pool_most<__half, 1, Byte>)
MARU_CUDA_FUNCTION("pool_most_wide_f32", pool_most<float, kVector<float>, Word>)
MARU_CUDA_FUNCTION("pool_most_wide_f16", pool_most<__half, kVector<__half>, Word>)
MARU_CUDA_FUNCTION("pool_most_wide_plain_f32", pool_most<float, 1, Word>)
MARU_CUDA_FUNCTION("pool_most_wide_plain_f16", pool_most<__half, 1, Word>)

MARU_CUDA_FUNCTION("pool_grad_most_f32", pool_grad<float, kVector<float>, Byte>)
MARU_CUDA_FUNCTION("pool_grad_most_f16", pool_grad<__half, kVector<__half>, Byte>)
MARU_CUDA_FUNCTION("pool_grad_most_plain_f32", pool_grad<float, 1, Byte>)
MARU_CUDA_FUNCTION("pool_grad_most_plain_f16", pool_grad<__half, 1, Byte>)
MARU_CUDA_FUNCTION("pool_grad_most_wide_f32", pool_grad<float, kVector<float>, Word>)
MARU_CUDA_FUNCTION("pool_grad_most_wide_f16", pool_grad<__half, kVector<__half>, Word>)
MARU_CUDA_FUNCTION("pool_grad_most_wide_plain_f32", pool_grad<float, 1, Word>)
MARU_CUDA_FUNCTION("pool_grad_most_wide_plain_f16", pool_grad<__half, 1, Word>)

MARU_CUDA_FUNCTION("pool_grad_f32", pool_grad<float, kVector<float>, void>)
MARU_CUDA_FUNCTION("pool_grad_f16", pool_grad<__half, kVector<__half>, void>)
MARU_CUDA_FUNCTION("pool_grad_plain_f32", pool_grad<float, 1, void>)
MARU_CUDA_FUNCTION("pool_grad_plain_f16", pool_grad<__half, 1, void>)

}  // namespace
}  // namespace maru::cuda
