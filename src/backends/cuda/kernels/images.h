// How images lie in memory, as functions take it.
#pragma once

#include <cstdint>

namespace maru::cuda {

// In elements, from one to the next.
struct ImageStrides {
  std::int64_t image, channel, pixel;
};

}  // namespace maru::cuda
