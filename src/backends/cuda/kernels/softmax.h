// The parameters of softmax_*. A plain struct, for both sides.
#pragma once

#include <cstdint>

namespace maru::cuda {

// Along the middle of three axes; ops/softmax.h.
struct SoftmaxParams {
  const void* src;
  void* dst;
  std::uint32_t rows;  // outer * inner
  std::uint32_t middle, inner;
};

// softmax_*: a block of so many threads a row. softmax_short_*: a thread a row.
constexpr int kSoftmaxThreads = 256;

}  // namespace maru::cuda
