// Pooling and normalisation in one, without the tensor between them.
#include "backends/cuda/kernels/images.cuh"
#include "backends/cuda/kernels/lrn.cuh"
#include "backends/cuda/kernels/pool.cuh"
#include "backends/cuda/kernels/pool_lrn.h"

namespace maru::cuda {
namespace {

template <int N>
__device__ void normalise_either(const LrnTerms& terms, const float (&before)[N],
                                 const float (&behind)[N], float (&value)[N]) {
  if (terms.size == 5) {
    normalise<2>(terms, before, behind, value);
  } else {
    normalise<1>(terms, before, behind, value);
  }
}

template <class T>
__device__ const T* begin_of(const PoolParams& p, std::uint32_t image, int channel) {
  return static_cast<const T*>(p.src) + image * p.src_strides.image + channel;
}
template <class T>
__device__ T* result_of(const PoolParams& p, const Spot& spot) {
  return static_cast<T*>(p.dst) + spot.image * p.dst_strides.image + spot.pixel * p.dst_strides.pixel +
         spot.channel;
}

// A block has all vectors of some pixels, so that what a vector needs of its neighbours is in the
// block.
template <class T>
__global__ void pool_lrn(PoolLrnParams p) {
  constexpr int N = kVector<T>;
  __shared__ float4 edges[kPoolLrnThreads];  // the first two and the last two of each vector
  const PoolWindow& window = p.pool.window;
  const std::uint32_t pixels = window.dst_height * window.dst_width;
  const std::uint32_t own = threadIdx.x / p.vectors, vector = threadIdx.x - own * p.vectors;
  const std::uint32_t index = blockIdx.x * p.block_pixels + own, image = index / pixels;
  const int channel = static_cast<int>(vector) * N;
  const bool has_spot = own < p.block_pixels && image < p.pool.images;
  const Spot spot{image, index - image * pixels, channel,
                  min(N, static_cast<int>(p.pool.channels) - channel)};
  float value[N];
  if (has_spot) {
    const T* src = begin_of<T>(p.pool, image, channel);
    pool_taps<N>(window.kind, taps_of(window, spot.pixel), value, [&](int y, int x, float(&one)[N]) {
      load(src + (y * window.width + x) * p.pool.src_strides.pixel, spot.count, p.pool.is_aligned, one);
    });
#pragma unroll
    for (int i = 0; i < N; ++i) value[i] = i < spot.count ? value[i] : 0;
    edges[threadIdx.x] = make_float4(value[0], value[1], value[N - 2], value[N - 1]);
  }
  __syncthreads();
  if (!has_spot) return;
  float before[N] = {}, behind[N] = {};
  if (vector > 0) {
    before[N - 2] = edges[threadIdx.x - 1].z;
    before[N - 1] = edges[threadIdx.x - 1].w;
  }
  if (vector + 1 < p.vectors) {
    behind[0] = edges[threadIdx.x + 1].x;
    behind[1] = edges[threadIdx.x + 1].y;
  }
  normalise_either(p.terms, before, behind, value);
  store(value, result_of<T>(p.pool, spot), spot.count, p.pool.is_aligned);
}

// Each tap is normalised by every window that it is in: with windows that overlap little, cheaper than
// telling the others.
template <class T>
__global__ void lrn_pool(PoolLrnParams p) {
  constexpr int N = kVector<T>;
  const PoolWindow& window = p.pool.window;
  const Spot spot = spot_of<N>(p.pool.images, p.pool.channels, window.dst_height * window.dst_width);
  if (spot.count == 0) return;
  const T* src = begin_of<T>(p.pool, spot.image, spot.channel);
  const int left = static_cast<int>(p.pool.channels) - spot.channel - N;
  float result[N];
  pool_taps<N>(window.kind, taps_of(window, spot.pixel), result, [&](int y, int x, float(&value)[N]) {
    const T* at = src + (y * window.width + x) * p.pool.src_strides.pixel;
    float before[N] = {}, behind[N] = {};
    load(at, spot.count, p.pool.is_aligned, value);
    if (spot.channel > 0) load(at - N, N, p.pool.is_aligned, before);
    if (left > 0) load(at + N, min(left, N), p.pool.is_aligned, behind);
    normalise_either(p.terms, before, behind, value);
  });
  store(result, result_of<T>(p.pool, spot), spot.count, p.pool.is_aligned);
}

MARU_CUDA_FUNCTION("pool_lrn_f32", pool_lrn<float>)
MARU_CUDA_FUNCTION("pool_lrn_f16", pool_lrn<__half>)
MARU_CUDA_FUNCTION("lrn_pool_f32", lrn_pool<float>)
MARU_CUDA_FUNCTION("lrn_pool_f16", lrn_pool<__half>)

}  // namespace
}  // namespace maru::cuda
