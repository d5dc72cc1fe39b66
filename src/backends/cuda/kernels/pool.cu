#include "backends/cuda/kernels/images.cuh"
#include "backends/cuda/kernels/pool.cuh"
#include "backends/cuda/kernels/pool.h"

namespace maru::cuda {
namespace {

// A thread for each vector of the result.
template <class T, int N>
__global__ void pool(PoolParams p) {
  const PoolWindow& window = p.window;
  const Spot spot = spot_of<N>(p.images, p.channels, window.dst_height * window.dst_width);
  if (spot.count == 0) return;
  const T* src = static_cast<const T*>(p.src) + spot.image * p.src_strides.image +
                 spot.channel * p.src_strides.channel;
  T* dst = static_cast<T*>(p.dst) + spot.image * p.dst_strides.image +
           spot.channel * p.dst_strides.channel + spot.pixel * p.dst_strides.pixel;
  float result[N];
  pool_at(p, spot.pixel, src, spot.count, result);
  store(result, dst, spot.count, p.is_aligned);
}

// Of the whole image, whose pixels would take one thread long. x: vectors; y: images.
template <class T>
__global__ void pool_global(PoolParams p) {
  constexpr int N = kVector<T>, kColumns = kGlobalVectors * N;
  alignas(16) __shared__ float partial[kGlobalSlices][kColumns];
  const bool is_max = p.window.kind == PoolWindow::Kind::max;
  const int pixels = p.window.height * p.window.width;
  const int first = static_cast<int>(blockIdx.x) * kColumns, own = static_cast<int>(threadIdx.x) * N;
  const int count = static_cast<int>(p.channels) - first - own;
  const T* src = static_cast<const T*>(p.src) + blockIdx.y * p.src_strides.image + first + own;
  const auto combine = [is_max](float a, float b) { return is_max ? fmaxf(a, b) : a + b; };
  const float none = is_max ? -INFINITY : 0.0f;

  float result[N];
#pragma unroll
  for (float& one : result) one = none;
  if (count > 0) {
#pragma unroll 2
    for (int pixel = static_cast<int>(threadIdx.y); pixel < pixels; pixel += kGlobalSlices) {
      float value[N];
      load(src + pixel * p.src_strides.pixel, min(count, N), p.is_aligned, value);
#pragma unroll
      for (int i = 0; i < N; ++i) result[i] = combine(result[i], value[i]);
    }
  }
  store(result, partial[threadIdx.y] + own, N, true);
  __syncthreads();
  const int column = static_cast<int>(threadIdx.y * kGlobalVectors + threadIdx.x);
  if (column >= kColumns || first + column >= static_cast<int>(p.channels)) return;
  float whole = none;
#pragma unroll
  for (int slice = 0; slice < kGlobalSlices; ++slice) whole = combine(whole, partial[slice][column]);
  static_cast<T*>(p.dst)[blockIdx.y * p.dst_strides.image + first + column] =
      from_float<T>(is_max ? whole : whole / static_cast<float>(pixels));
}

MARU_CUDA_FUNCTION("pool_f32", pool<float, kVector<float>>)
MARU_CUDA_FUNCTION("pool_f16", pool<__half, kVector<__half>>)
MARU_CUDA_FUNCTION("pool_plain_f32", pool<float, 1>)
MARU_CUDA_FUNCTION("pool_plain_f16", pool<__half, 1>)
MARU_CUDA_FUNCTION("pool_global_f32", pool_global<float>)
MARU_CUDA_FUNCTION("pool_global_f16", pool_global<__half>)

}  // namespace
}  // namespace maru::cuda
