#include "ops/broadcast.h"

#include <algorithm>

namespace maru {

Shape covered_shape(const Shape& data, std::int64_t axis, std::int64_t num_axes) {
  if (data.rank() == 0 && num_axes == 0) return {};
  const std::size_t first = data.axis(axis);
  const std::size_t most = data.rank() - first;
  if (num_axes < -1 || num_axes > static_cast<std::int64_t>(most)) {
    throw Error("num_axes", fmt::format("-1 to {} axes from axis {} of {}", most, first, data.str()),
                fmt::format("{}", num_axes));
  }
  return Shape(
      data.extents().subspan(first, num_axes == -1 ? most : static_cast<std::size_t>(num_axes)));
}

Extents cover(const Shape& data, const Shape& operand, std::int64_t axis) {
  if (operand.rank() == 0) return {1, 1, data.count()};
  const std::size_t first = data.axis(axis);
  const auto behind = data.extents().subspan(first);
  if (operand.rank() > behind.size() ||
      !std::ranges::equal(operand.extents(), behind.first(operand.rank()))) {
    throw Error("inputs", fmt::format("extents of {} from axis {} on", data.str(), first),
                operand.str());
  }
  return extents_around(data, first, first + operand.rank());
}

}  // namespace maru
