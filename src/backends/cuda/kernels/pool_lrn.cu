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
    pool_at(p.pool, spot.pixel, src, spot.count, value);
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

// What a tile of the result needs is normalised once, into shared memory. For maxima, which give the
// same before and after rounding.
template <class T>
__global__ void lrn_pool(PoolLrnParams p) {
  constexpr int N = kVector<T>;
  __shared__ Elements<T, N> normal[kLrnPoolTaps][kLrnPoolVectors];
  const PoolWindow& window = p.pool.window;
  const std::uint32_t parts = (p.vectors + kLrnPoolVectors - 1) / kLrnPoolVectors;
  const std::uint32_t tiles = (window.dst_width + kLrnPoolSide - 1) / kLrnPoolSide;
  const std::uint32_t tile = blockIdx.x / parts;
  const int first_vector = static_cast<int>(blockIdx.x - tile * parts) * kLrnPoolVectors;
  const int first_row = static_cast<int>(tile / tiles) * kLrnPoolSide;
  const int first_column = static_cast<int>(tile % tiles) * kLrnPoolSide;
  const int top = first_row * window.stride[0] - window.pad[0];
  const int left = first_column * window.stride[1] - window.pad[1];
  const int rows = (kLrnPoolSide - 1) * window.stride[0] + window.kernel[0];
  const int columns = (kLrnPoolSide - 1) * window.stride[1] + window.kernel[1];
  const int thread = static_cast<int>(threadIdx.x), threads = static_cast<int>(blockDim.x);

  for (int i = thread; i < rows * columns * kLrnPoolVectors; i += threads) {
    const int tap = i / kLrnPoolVectors, vector = i % kLrnPoolVectors;
    const int y = top + tap / columns, x = left + tap % columns;
    const int channel = (first_vector + vector) * N,
              count = static_cast<int>(p.pool.channels) - channel;
    if (count <= 0 || y < 0 || y >= window.height || x < 0 || x >= window.width) continue;
    const T* at =
        begin_of<T>(p.pool, blockIdx.y, channel) + (y * window.width + x) * p.pool.src_strides.pixel;
    float value[N], before[N] = {}, behind[N] = {};
    load(at, min(count, N), p.pool.is_aligned, value);
    if (channel > 0) load(at - N, N, p.pool.is_aligned, before);
    if (count > N) load(at + N, min(count - N, N), p.pool.is_aligned, behind);
    normalise_either(p.terms, before, behind, value);
    store(value, normal[tap][vector].at, N, true);
  }
  __syncthreads();
  for (int i = thread; i < kLrnPoolSide * kLrnPoolSide * kLrnPoolVectors; i += threads) {
    const int pixel = i / kLrnPoolVectors, vector = i % kLrnPoolVectors;
    const int row = first_row + pixel / kLrnPoolSide, column = first_column + pixel % kLrnPoolSide;
    const int channel = (first_vector + vector) * N;
    const int count = min(N, static_cast<int>(p.pool.channels) - channel);
    if (count <= 0 || row >= window.dst_height || column >= window.dst_width) continue;
    const Spot spot{blockIdx.y, static_cast<std::uint32_t>(row * window.dst_width + column), channel,
                    count};
    const Taps taps = taps_of(window, spot.pixel);
    Elements<T, N> most = normal[(taps.top - top) * columns + taps.left - left][vector];
    for (int y = taps.top; y < taps.bottom; ++y) {
      for (int x = taps.left; x < taps.right; ++x)
        raise(most, normal[(y - top) * columns + x - left][vector]);
    }
    float result[N];
    load(most.at, N, true, result);
    store(result, result_of<T>(p.pool, spot), count, p.pool.is_aligned);
  }
}

MARU_CUDA_FUNCTION("pool_lrn_f32", pool_lrn<float>)
MARU_CUDA_FUNCTION("pool_lrn_f16", pool_lrn<__half>)
MARU_CUDA_FUNCTION("lrn_pool_f32", lrn_pool<float>)
MARU_CUDA_FUNCTION("lrn_pool_f16", lrn_pool<__half>)

}  // namespace
}  // namespace maru::cuda
