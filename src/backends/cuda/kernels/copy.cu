#include "backends/cuda/kernels/copy.h"
#include "backends/cuda/kernels/vectors.cuh"

namespace maru::cuda {
namespace {

template <class Unit>
__device__ void copy_units(const std::byte* src, std::byte* dst, int bytes) {
#pragma unroll
  for (int i = 0; i < kCopyBytes; i += static_cast<int>(sizeof(Unit))) {
    if (i < bytes) *reinterpret_cast<Unit*>(dst + i) = *reinterpret_cast<const Unit*>(src + i);
  }
}

__global__ void copy(CopyParams p) {
  const std::uint32_t index = thread_index(), row = index / p.vectors;
  if (row >= p.rows) return;
  const std::uint64_t first = static_cast<std::uint64_t>(index - row * p.vectors) * kCopyBytes;
  const int bytes = static_cast<int>(min(p.row_bytes - first, static_cast<std::uint64_t>(kCopyBytes)));
  const auto* src = static_cast<const std::byte*>(p.src) + row * p.src_step + first;
  auto* dst = static_cast<std::byte*>(p.dst) + row * p.dst_step + first;
  if (p.unit == 16 && bytes == kCopyBytes) {
    copy_units<uint4>(src, dst, bytes);
  } else if (p.unit % 4 == 0 && bytes % 4 == 0) {
    copy_units<std::uint32_t>(src, dst, bytes);
  } else if (p.unit % 2 == 0 && bytes % 2 == 0) {
    copy_units<std::uint16_t>(src, dst, bytes);
  } else {
    copy_units<std::uint8_t>(src, dst, bytes);
  }
}

MARU_CUDA_FUNCTION("copy", copy)

}  // namespace
}  // namespace maru::cuda
