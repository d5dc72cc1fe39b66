#include "backends/cuda/elements.h"

#include <algorithm>
#include <limits>

namespace maru::cuda {
namespace {

constexpr std::int64_t kVectorBytes = 16;

}  // namespace

bool is_countable(const Call& call) {
  const auto is_fine = [](const TensorDesc& desc) {
    return desc.count() <= std::numeric_limits<std::int32_t>::max();
  };
  return std::ranges::all_of(call.src, is_fine) && std::ranges::all_of(call.dst, is_fine);
}

int vector_of(DType dtype) { return static_cast<int>(kVectorBytes) / static_cast<int>(size_of(dtype)); }

bool is_aligned(const void* address, std::int64_t step_bytes) {
  return reinterpret_cast<std::uintptr_t>(address) % kVectorBytes == 0 &&
         step_bytes % kVectorBytes == 0;
}

Rows rows_of(std::span<const TensorDesc> tensors, int vector) {
  const TensorDesc dense = tensors[0].with(tensors[0].layout.dense());
  const auto is_window = [](const TensorDesc& desc) { return desc.layout.is_window(); };
  const Images images(dense);
  // Padding of blocks included.
  std::int64_t count = 1, run = static_cast<std::int64_t>(dense.bytes() / size_of(dense.dtype));
  if (std::ranges::any_of(tensors, is_window)) {
    const bool is_last = dense.layout.kind == Layout::Kind::channels_last;
    count = is_last ? images.count * images.pixels : images.count;
    run = is_last ? images.channels : images.image_stride;
  }
  return {static_cast<std::uint32_t>(count), static_cast<std::uint32_t>(run),
          static_cast<std::uint32_t>(divide_up(run, vector))};
}

std::int64_t row_stride(const TensorDesc& tensor, const Rows& rows) {
  if (rows.count == 1) return 0;
  const Images images(tensor);
  return tensor.layout.kind == Layout::Kind::channels_last ? images.pixel_stride : images.image_stride;
}

ImageStrides strides_of(const TensorDesc& images) {
  const Images of(images);
  return {of.image_stride, of.channel_stride, of.pixel_stride};
}

}  // namespace maru::cuda
