#include "backends/cuda/kernels/relayout.h"
#include "backends/cuda/kernels/vectors.cuh"

namespace maru::cuda {
namespace {

__device__ std::int64_t offset_of(const Arrangement& of, std::uint32_t channel, std::uint32_t pixel) {
  const std::uint32_t width = static_cast<std::uint32_t>(of.channels), block = channel / width;
  return block * of.block + (channel - block * width) + pixel * of.pixel;
}

// Through a tile, so that both sides go over neighbours. x: pixels; y: channels; z: images, and beyond.
template <class T>
__global__ void relayout(RelayoutParams p) {
  __shared__ T tile[kRelayoutTile][kRelayoutTile + 1];  // [channel][pixel]
  const std::uint32_t first_pixel = blockIdx.x * kRelayoutTile;
  const std::uint32_t first_channel = blockIdx.y * kRelayoutTile;
  for (std::uint32_t image = blockIdx.z; image < p.images; image += gridDim.z) {
    const T* src = static_cast<const T*>(p.src) + image * p.from.image;
    T* dst = static_cast<T*>(p.dst) + image * p.to.image;
    for (std::uint32_t k = threadIdx.y; k < kRelayoutTile; k += kRelayoutRows) {
      const std::uint32_t x = p.from.pixels_are_neighbours ? threadIdx.x : k;
      const std::uint32_t y = p.from.pixels_are_neighbours ? k : threadIdx.x;
      const std::uint32_t pixel = first_pixel + x, channel = first_channel + y;
      const bool is_there = pixel < p.pixels && channel < p.channels;
      tile[y][x] = is_there ? src[offset_of(p.from, channel, pixel)] : T(0);
    }
    __syncthreads();
    for (std::uint32_t k = threadIdx.y; k < kRelayoutTile; k += kRelayoutRows) {
      const std::uint32_t x = p.to.pixels_are_neighbours ? threadIdx.x : k;
      const std::uint32_t y = p.to.pixels_are_neighbours ? k : threadIdx.x;
      const std::uint32_t pixel = first_pixel + x, channel = first_channel + y;
      if (pixel < p.pixels && channel < p.dst_channels)
        dst[offset_of(p.to, channel, pixel)] = tile[y][x];
    }
    __syncthreads();
  }
}

template <class T>
__global__ void relayout_few(RelayoutParams p) {
  const std::uint32_t index = thread_index(), image = index / p.pixels;
  if (image >= p.images) return;
  const std::uint32_t pixel = index - image * p.pixels;
  const T* src = static_cast<const T*>(p.src) + image * p.from.image;
  T* dst = static_cast<T*>(p.dst) + image * p.to.image;
  Elements<T, kFewChannels> value;
#pragma unroll
  for (std::uint32_t c = 0; c < kFewChannels; ++c) {
    value.at[c] = c < p.channels ? src[offset_of(p.from, c, pixel)] : T(0);
  }
  if (p.is_aligned) {
    *reinterpret_cast<Elements<T, kFewChannels>*>(dst + offset_of(p.to, 0, pixel)) = value;
    return;
  }
#pragma unroll
  for (std::uint32_t c = 0; c < kFewChannels; ++c) {
    if (c < p.dst_channels) dst[offset_of(p.to, c, pixel)] = value.at[c];
  }
}

MARU_CUDA_FUNCTION("relayout_1", relayout<std::uint8_t>)
MARU_CUDA_FUNCTION("relayout_2", relayout<std::uint16_t>)
MARU_CUDA_FUNCTION("relayout_4", relayout<std::uint32_t>)
MARU_CUDA_FUNCTION("relayout_8", relayout<std::uint64_t>)
MARU_CUDA_FUNCTION("relayout_few_1", relayout_few<std::uint8_t>)
MARU_CUDA_FUNCTION("relayout_few_2", relayout_few<std::uint16_t>)
MARU_CUDA_FUNCTION("relayout_few_4", relayout_few<std::uint32_t>)
MARU_CUDA_FUNCTION("relayout_few_8", relayout_few<std::uint64_t>)

}  // namespace
}  // namespace maru::cuda
