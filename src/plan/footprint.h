// Footprint: exactly which bytes of a region a tensor covers: one run an image, runs a stride apart
// where it is a window. A value. Internal to the room `plan`.
#pragma once

#include <algorithm>
#include <cstddef>

#include "plan/plan.h"

namespace maru::planning {

struct Footprint {
  std::size_t region = 0;
  std::size_t begin = 0;   // of the first run
  std::size_t length = 0;  // of every run; 0: nothing
  std::size_t stride = 0;  // from the beginning of one run to that of the next
  std::size_t count = 1;

  std::size_t end() const { return begin + stride * (count - 1) + length; }

  static Footprint of(const Operand& operand) {
    const TensorDesc& desc = operand.desc;
    const std::size_t bytes = desc.bytes();
    if (!desc.layout.is_window() || desc.shape.rank() == 0 || desc.shape[0] <= 1 || bytes == 0)
      return {operand.region, operand.offset, bytes, bytes, 1};
    const auto images = static_cast<std::size_t>(desc.shape[0]);
    const std::size_t stride = static_cast<std::size_t>(desc.image_stride()) * size_of(desc.dtype);
    return {operand.region, operand.offset, bytes - stride * (images - 1), stride, images};
  }

  bool overlaps(const Footprint& other) const {
    if (region != other.region || length == 0 || other.length == 0) return false;
    if (begin >= other.end() || other.begin >= end()) return false;
    // From run to run of the one with fewer; of the other only those that can reach it.
    if (count > other.count) return other.overlaps(*this);
    for (std::size_t i = 0; i < count; ++i) {
      const std::size_t from = begin + i * stride, to = from + length;
      if (to <= other.begin || from >= other.end()) continue;
      // The first run that ends behind `from`.
      const std::size_t behind = other.begin + other.length;
      const std::size_t k = from < behind || other.count == 1 ? 0 : (from - behind) / other.stride + 1;
      if (k < other.count && other.begin + k * other.stride < to) return true;
    }
    return false;
  }

  template <class Visit>  // visit(begin, end) of every run
  void each_run(Visit&& visit) const {
    if (length == 0) return;
    if (length == stride) return visit(begin, begin + count * stride);
    for (std::size_t i = 0; i < count; ++i) visit(begin + i * stride, begin + i * stride + length);
  }
};

}  // namespace maru::planning
