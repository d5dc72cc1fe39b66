// The parameters of pool_lrn_* and lrn_pool_*: both operators at once. A plain struct, for both sides.
#pragma once

#include "backends/cuda/kernels/lrn.h"
#include "backends/cuda/kernels/pool.h"

namespace maru::cuda {

// Channels of images are neighbours; the normalisation is across 3 or 5 of them.
struct PoolLrnParams {
  PoolParams pool;
  LrnTerms terms;
  std::uint32_t vectors;       // of a pixel
  std::uint32_t block_pixels;  // pool_lrn_*: pixels of a block, each with all of its vectors
};

constexpr int kPoolLrnThreads = 256;  // of a block, at most

// lrn_pool_*: a block makes a tile of so many pixels of the result each way, and vectors of them, from
// at most so many pixels. x: vectors, then tiles; y: images.
constexpr int kLrnPoolSide = 4, kLrnPoolVectors = 4, kLrnPoolTaps = 81;
// A thread for each vector of the largest tile.
constexpr int kLrnPoolThreads = 352;

}  // namespace maru::cuda
