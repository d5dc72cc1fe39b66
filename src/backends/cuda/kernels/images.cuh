// Which pixel and channels of images a thread has, for functions that treat neighbours: vectors of N
// channels of images whose channels are side by side, or with N = 1 single elements of plain images, in
// the order in which they lie.
#pragma once

#include "backends/cuda/kernels/images.h"
#include "backends/cuda/kernels/vectors.cuh"

namespace maru::cuda {

struct Spot {
  std::uint32_t image, pixel;
  int channel;  // the first
  int count;    // of channels; 0: there is nothing for this thread
};

template <int N>
__device__ Spot spot_of(std::uint32_t images, std::uint32_t channels, std::uint32_t pixels) {
  const std::uint32_t index = thread_index(), vectors = (channels + N - 1) / N;
  const std::uint32_t inner = N == 1 ? pixels : vectors, outer = N == 1 ? vectors : pixels;
  const std::uint32_t row = index / inner, fast = index - row * inner;
  const std::uint32_t image = row / outer, slow = row - image * outer;
  if (image >= images) return {0, 0, 0, 0};
  const int channel = static_cast<int>((N == 1 ? slow : fast) * N);
  return {image, N == 1 ? fast : slow, channel, min(N, static_cast<int>(channels) - channel)};
}

}  // namespace maru::cuda
