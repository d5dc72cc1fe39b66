// Footprint: exactly which bytes of a region a tensor covers: a window has a run of each image, or of
// each pixel where channels are last, a stride apart. A value. Internal to the room `plan`.
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
    if (!desc.layout.is_window() || desc.shape.rank() == 0 || bytes == 0)
      return {operand.region, operand.offset, bytes, bytes, 1};
    const std::size_t size = size_of(desc.dtype);
    auto runs = static_cast<std::size_t>(desc.shape[0]);
    auto stride = static_cast<std::size_t>(desc.image_stride()) * size;
    if (desc.layout.kind == Layout::Kind::channels_last) {
      runs *= static_cast<std::size_t>(desc.shape.count(2, desc.shape.rank()));
      stride = static_cast<std::size_t>(desc.layout.stored_channels) * size;
    }
    if (runs == 1) return {operand.region, operand.offset, bytes, bytes, 1};
    return {operand.region, operand.offset, bytes - stride * (runs - 1), stride, runs};
  }

  bool overlaps(const Footprint& other) const {
    if (region != other.region || length == 0 || other.length == 0) return false;
    if (begin >= other.end() || other.begin >= end()) return false;
    if (stride == other.stride && count > 1 && other.count > 1) return overlaps_in_step(other);
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

  // Windows of one tensor: their runs are as far apart, so that one pair of runs tells of all.
  bool overlaps_in_step(const Footprint& other) const {
    if (other.begin < begin) return other.overlaps_in_step(*this);
    // Run k of the other begins `shift` behind run k + whole of this one, and `stride - shift` before
    // the next.
    const std::size_t whole = (other.begin - begin) / stride, shift = (other.begin - begin) % stride;
    if (shift < length && whole < count) return true;
    return stride - shift < other.length && whole + 1 < count;
  }

  template <class Visit>  // visit(begin, end) of every run
  void each_run(Visit&& visit) const {
    if (length == 0) return;
    if (length == stride) return visit(begin, begin + count * stride);
    for (std::size_t i = 0; i < count; ++i) visit(begin + i * stride, begin + i * stride + length);
  }
};

}  // namespace maru::planning
