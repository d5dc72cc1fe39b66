// Small helpers on text that several rooms need.
#pragma once

#include <span>
#include <string>
#include <string_view>

namespace maru {

// Whether one is the other with a letter or two wrong, missing or too many; one letter in short names.
bool are_similar(std::string_view a, std::string_view b);

// Up to three of `names` that are most like `wanted` (edit distance), as a hint: "a, b or c"; with none
// near enough, the first names in order.
std::string closest_names(std::string_view wanted, std::span<const std::string_view> names);

// "12.5 MB", decimal units.
std::string human_bytes(double bytes);

}  // namespace maru
