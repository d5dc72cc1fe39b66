// Printing of attribute structs through their one `fields(self, visit)`: "name=value" pairs, defaults
// left out. The text is exact (floating-point numbers round-trip), so that it also serves as a cache
// key.
#pragma once

#include <fmt/format.h>

#include <array>
#include <cstddef>
#include <optional>
#include <string>
#include <string_view>
#include <type_traits>
#include <vector>

#include "tensor/shape.h"

namespace maru {

template <class A>
std::string print_fields(const A& attributes);

inline std::string print_field(bool value) { return value ? "yes" : "no"; }
inline std::string print_field(const std::string& value) { return value; }
inline std::string print_field(const Shape& value) { return value.str(); }

template <class T>
requires std::is_arithmetic_v<T> std::string print_field(T value) { return fmt::format("{}", value); }
template <class T>
requires std::is_enum_v<T> std::string print_field(T value) { return std::string(to_string(value)); }
template <class T, std::size_t N>
std::string print_field(const std::array<T, N>& value) {
  return fmt::format("{}", fmt::join(value, "x"));
}
template <class T>
std::string print_field(const std::vector<T>& value) {
  return fmt::format("[{}]", fmt::join(value, ","));
}
template <class A>
requires requires { A::kName; }
std::string print_field(const A& value) {
  const std::string inner = print_fields(value);
  return inner.empty() ? std::string(A::kName) : fmt::format("{}({})", A::kName, inner);
}
template <class T>
std::string print_field(const std::optional<T>& value) {
  return value ? print_field(*value) : "none";
}

template <class A>
std::string print_fields(const A& attributes) {
  std::vector<std::string> defaults, names, values;
  const A unset{};
  A::fields(unset,
            [&](std::string_view, const auto& value) { defaults.push_back(print_field(value)); });
  A::fields(attributes, [&](std::string_view name, const auto& value) {
    names.emplace_back(name);
    values.push_back(print_field(value));
  });
  std::string text;
  for (std::size_t i = 0; i < names.size(); ++i) {
    if (values[i] == defaults[i]) continue;
    text += fmt::format("{}{}={}", text.empty() ? "" : " ", names[i], values[i]);
  }
  return text;
}

}  // namespace maru
