// Rows: tensors of one shape and layout as rows of elements that lie side by side, for functions that
// treat every element alike. Dense tensors are one row, windows one a pixel or an image.
#pragma once

#include <cstdint>

namespace maru::cuda {

struct Rows {
  std::uint32_t count = 1;    // rows
  std::uint32_t run = 0;      // elements of a row
  std::uint32_t vectors = 0;  // of a row, one a thread; the last may be shorter
};

}  // namespace maru::cuda
