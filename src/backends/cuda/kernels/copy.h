// The parameters of copy: bytes from one place to another. A plain struct, for both sides.
#pragma once

#include <cstdint>

namespace maru::cuda {

// Rows of bytes from one place to another. A thread copies 16 bytes of a row, by units that both
// addresses and steps allow.
struct CopyParams {
  const void* src;
  void* dst;
  std::uint64_t row_bytes;
  std::uint64_t src_step, dst_step;  // from one row to the next, in bytes
  std::uint32_t rows, vectors;       // vectors of 16 bytes of a row, the last may be shorter
  std::uint32_t unit;                // 16, 4, 2 or 1
};

constexpr int kCopyBytes = 16;

}  // namespace maru::cuda
