#include "backends/cuda/training.h"

#include <algorithm>

namespace maru::cuda {

bool is_training_call(const Call& call) {
  return data_type(call).has_value() && is_countable(call) &&
         std::ranges::none_of(call.constant, [](bool is) { return is; });
}

bool is_f32_call(const Call& call, std::size_t constants) {
  const auto is_single = [](const TensorDesc& desc) { return desc.dtype == DType::f32; };
  for (std::size_t i = 0; i < std::min(constants, call.src.size()); ++i) {
    if (call.constant[i]) return false;
  }
  return is_countable(call) && std::ranges::all_of(call.src, is_single) &&
         std::ranges::all_of(call.dst, is_single);
}

Kept::Kept(const TensorDesc& desc, int vector) {
  const Images images(desc.with(desc.layout.dense()));
  const bool is_last = desc.layout.kind == Layout::Kind::channels_last;
  const std::int64_t channels = is_last ? divide_up(images.channels, vector) * vector : images.channels;
  strides = {channels * images.pixels, is_last ? 1 : images.pixels, is_last ? channels : 1};
  count = images.count * strides.image;
}

std::size_t Pieces::add(std::int64_t bytes) {
  constexpr std::size_t kAlignment = 256;
  const std::size_t begin = bytes_;
  bytes_ += (static_cast<std::size_t>(bytes) + kAlignment - 1) / kAlignment * kAlignment;
  return begin;
}

unsigned slices_for(const Runtime& runtime, std::int64_t threads, unsigned block) {
  constexpr std::int64_t kBlocksEach = 4;
  const std::int64_t most = kBlocksEach * std::max(runtime.facts().multiprocessors, 1);
  return static_cast<unsigned>(std::clamp<std::int64_t>(divide_up(threads, block), 1, most));
}

}  // namespace maru::cuda
