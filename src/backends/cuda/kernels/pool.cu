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
  pool_taps<N>(window.kind, taps_of(window, spot.pixel), result, [&](int y, int x, float(&value)[N]) {
    load(src + (y * window.width + x) * p.src_strides.pixel, spot.count, p.is_aligned, value);
  });
  store(result, dst, spot.count, p.is_aligned);
}

// Of the whole image, whose pixels would take one thread long. x: vectors; y: images.
template <class T>
__global__ void pool_global(PoolParams p) {
  constexpr int N = kVector<T>;
  __shared__ float partial[kGlobalSlices][kGlobalVectors][N];
  const bool is_max = p.window.kind == PoolWindow::Kind::max;
  const int pixels = p.window.height * p.window.width;
  const int channel = static_cast<int>(blockIdx.x * kGlobalVectors + threadIdx.x) * N;
  const int count = min(N, static_cast<int>(p.channels) - channel);
  const T* src = static_cast<const T*>(p.src) + blockIdx.y * p.src_strides.image + channel;
  const auto combine = [is_max](float a, float b) { return is_max ? fmaxf(a, b) : a + b; };

  float result[N];
#pragma unroll
  for (float& one : result) one = is_max ? -INFINITY : 0.0f;
  if (count > 0) {
    for (int pixel = threadIdx.y; pixel < pixels; pixel += kGlobalSlices) {
      float value[N];
      load(src + pixel * p.src_strides.pixel, count, p.is_aligned, value);
#pragma unroll
      for (int i = 0; i < N; ++i) result[i] = combine(result[i], value[i]);
    }
  }
#pragma unroll
  for (int i = 0; i < N; ++i) partial[threadIdx.y][threadIdx.x][i] = result[i];
  for (int slices = kGlobalSlices / 2; slices > 0; slices /= 2) {
    __syncthreads();
    if (static_cast<int>(threadIdx.y) >= slices) continue;
#pragma unroll
    for (int i = 0; i < N; ++i) {
      float& sum = partial[threadIdx.y][threadIdx.x][i];
      sum = combine(sum, partial[threadIdx.y + slices][threadIdx.x][i]);
    }
  }
  if (threadIdx.y > 0 || count <= 0) return;
  const float divisor = is_max ? 1.0f : static_cast<float>(pixels);
#pragma unroll
  for (int i = 0; i < N; ++i) result[i] = partial[0][threadIdx.x][i] / divisor;
  T* dst = static_cast<T*>(p.dst) + blockIdx.y * p.dst_strides.image + channel;
  store(result, dst, count, p.is_aligned);
}

MARU_CUDA_FUNCTION("pool_f32", pool<float, kVector<float>>)
MARU_CUDA_FUNCTION("pool_f16", pool<__half, kVector<__half>>)
MARU_CUDA_FUNCTION("pool_plain_f32", pool<float, 1>)
MARU_CUDA_FUNCTION("pool_plain_f16", pool<__half, 1>)
MARU_CUDA_FUNCTION("pool_global_f32", pool_global<float>)
MARU_CUDA_FUNCTION("pool_global_f16", pool_global<__half>)

}  // namespace
}  // namespace maru::cuda
