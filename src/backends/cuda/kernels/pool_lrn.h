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

}  // namespace maru::cuda
