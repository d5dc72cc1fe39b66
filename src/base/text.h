// Small helpers on text that several rooms need.
#pragma once

#include <span>
#include <string>
#include <string_view>

namespace maru {

// Up to three of `names` that are most like `wanted` (edit distance), as a hint: "a, b or c"; with none
// near enough, the first names in order.
std::string closest_names(std::string_view wanted, std::span<const std::string_view> names);

// "12.5 MB", decimal units.
std::string human_bytes(double bytes);

}  // namespace maru
