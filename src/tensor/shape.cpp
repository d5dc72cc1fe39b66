#include "tensor/shape.h"

#include <algorithm>

#include "base/error.h"

namespace maru {

Shape::Shape(std::initializer_list<std::int64_t> extents)
    : Shape(std::span<const std::int64_t>(extents.begin(), extents.size())) {}

Shape::Shape(std::span<const std::int64_t> extents) : rank_(extents.size()) {
  constexpr std::int64_t kMaxCount = std::int64_t{1} << 48;
  if (rank_ > kMaxRank) {
    throw Error("shape", fmt::format("at most {} axes", kMaxRank), fmt::format("{}", rank_));
  }
  std::int64_t product = 1;
  for (std::size_t axis = 0; axis < rank_; ++axis) {
    const std::int64_t extent = extents[axis];
    if (extent < 0) {
      throw Error("shape", "extents of 0 or more", fmt::format("{} on axis {}", extent, axis));
    }
    if (extent > 0 && product > kMaxCount / extent) {
      throw Error("shape", "at most 2^48 elements", "more", "checking the sizes in the model");
    }
    product *= std::max<std::int64_t>(extent, 1);
    extents_[axis] = extent;
  }
}

std::int64_t Shape::count(std::size_t first, std::size_t last) const noexcept {
  std::int64_t product = 1;
  for (std::size_t axis = first; axis < last; ++axis) product *= extents_[axis];
  return product;
}

Shape Shape::with(std::size_t axis, std::int64_t extent) const {
  MARU_ASSERT(axis < rank_);
  Shape changed = *this;
  changed.extents_[axis] = extent;
  return Shape(changed.extents());
}

std::size_t Shape::axis(std::int64_t written, std::size_t limit) const {
  const auto bound = static_cast<std::int64_t>(limit);
  const std::int64_t index = written < 0 ? written + bound : written;
  if (index < 0 || index >= bound) {
    throw Error("axis", fmt::format("an axis from {} to {} of {}", -bound, bound - 1, str()),
                fmt::format("{}", written));
  }
  return static_cast<std::size_t>(index);
}

std::string Shape::str() const {
  if (rank_ == 0) return "scalar";
  return fmt::format("{}", fmt::join(extents(), "x"));
}

bool Shape::operator==(const Shape& other) const noexcept {
  return std::ranges::equal(extents(), other.extents());
}

}  // namespace maru
