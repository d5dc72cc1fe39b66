// Reading of attribute structs, the inverse of graph/fields.h: parse_fields<A>(print_fields(a)) == a.
// The text may come from a file: whatever is wrong with it is an Error that names the field.
#pragma once

#include <array>
#include <charconv>
#include <concepts>
#include <cstddef>
#include <optional>
#include <string>
#include <string_view>
#include <type_traits>
#include <vector>

#include "base/error.h"

namespace maru {

struct FieldText {
  std::string_view name, value;
};

// The pairs of "a=1 b=[2,3] c=elu(alpha=1 scale=2)". Throws Error for what is no list of pairs and for
// a name that comes twice.
std::vector<FieldText> split_fields(std::string_view text);
// The parts of "1x2" or "1,2"; none of an empty text.
std::vector<std::string_view> split_parts(std::string_view text, char separator);
// What stands between `open` and the last character, which must be `close`. Throws Error.
std::string_view between(std::string_view text, std::string_view open, char close);

template <class A>
A parse_fields(std::string_view text);

void parse_field(std::string_view text, bool& value);

template <class T>
requires std::integral<T> || std::floating_point<T>
void parse_field(std::string_view text, T& value) {
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (error == std::errc() && end == text.data() + text.size()) return;
  throw Error("value", std::integral<T> ? "a whole number" : "a number", text);
}

// By to_string(), which gives "?" for what is no enumerator, or the last name again.
template <class T>
requires std::is_enum_v<T>
void parse_field(std::string_view text, T& value) {
  constexpr int kMost = 64;
  std::string known;
  std::string_view last;
  for (int i = 0; i < kMost; ++i) {
    const std::string_view name = to_string(static_cast<T>(i));
    if (name == text && name != "?") {
      value = static_cast<T>(i);
      return;
    }
    if (name == "?" || name == last) break;
    known += (known.empty() ? "" : " or ") + std::string(name);
    last = name;
  }
  throw Error("value", known, text);
}

template <class T, std::size_t N>
void parse_field(std::string_view text, std::array<T, N>& value) {
  const auto parts = split_parts(text, 'x');
  if (parts.size() != N) throw Error("value", fmt::format("{} numbers with x between", N), text);
  for (std::size_t i = 0; i < N; ++i) parse_field(parts[i], value[i]);
}

template <class T>
void parse_field(std::string_view text, std::vector<T>& value) {
  value.clear();
  for (const std::string_view part : split_parts(between(text, "[", ']'), ',')) {
    parse_field(part, value.emplace_back());
  }
}

template <class A>
requires requires { A::kName; }
void parse_field(std::string_view text, A& value) {
  const std::string open = std::string(A::kName) + "(";
  value = text == A::kName ? A{} : parse_fields<A>(between(text, open, ')'));
}

template <class T>
void parse_field(std::string_view text, std::optional<T>& value) {
  value.reset();
  if (text != "none") parse_field(text, value.emplace());
}

// Fields that the text leaves out have their defaults.
template <class A>
A parse_fields(std::string_view text) {
  A attributes{};
  std::vector<FieldText> fields = split_fields(text);
  std::string known;
  A::fields(attributes, [&](std::string_view name, auto& value) {
    known += (known.empty() ? "" : ", ") + std::string(name);
    for (FieldText& field : fields) {
      if (field.name != name) continue;
      try {
        parse_field(field.value, value);
      } catch (const Error& error) {
        throw Error(name, error.expected(), error.got(), error.hint());
      }
      field.name = {};
    }
  });
  for (const FieldText& field : fields) {
    if (!field.name.empty()) throw Error(A::kName, "attributes among " + known, field.name);
  }
  return attributes;
}

}  // namespace maru
