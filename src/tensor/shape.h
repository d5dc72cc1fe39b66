// Shape: the extents of a tensor, outermost first, at most eight of them. A value.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <initializer_list>
#include <span>
#include <string>

namespace maru {

class Shape {
 public:
  static constexpr std::size_t kMaxRank = 8;

  Shape() = default;
  Shape(std::initializer_list<std::int64_t> extents);
  // Throws Error for more than kMaxRank extents, a negative one, or a product beyond 2^48 elements.
  explicit Shape(std::span<const std::int64_t> extents);

  std::size_t rank() const noexcept { return rank_; }
  std::int64_t operator[](std::size_t axis) const { return extents_[axis]; }
  std::span<const std::int64_t> extents() const noexcept { return {extents_.data(), rank_}; }
  const std::int64_t* begin() const noexcept { return extents_.data(); }
  const std::int64_t* end() const noexcept { return extents_.data() + rank_; }

  std::int64_t count() const noexcept { return count(0, rank_); }
  // Product of the extents of the axes [first, last).
  std::int64_t count(std::size_t first, std::size_t last) const noexcept;
  Shape with(std::size_t axis, std::int64_t extent) const;

  // Axis as models write it, negative from the back, as an index. `limit` is rank() for an axis that
  // exists, rank() + 1 where one past the last is allowed. Throws Error.
  std::size_t axis(std::int64_t written, std::size_t limit) const;
  std::size_t axis(std::int64_t written) const { return axis(written, rank_); }

  std::string str() const;  // "1x3x224x224"; "scalar" for rank 0

  bool operator==(const Shape& other) const noexcept;

 private:
  std::array<std::int64_t, kMaxRank> extents_{};
  std::size_t rank_ = 0;
};

}  // namespace maru
