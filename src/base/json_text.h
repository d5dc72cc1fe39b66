// json_text: a value of nlohmann's, for messages about files. Pure function.
#pragma once

#include <fmt/format.h>

#include <string>

namespace maru {

// Lists and objects by their size alone: to print them takes a call for each level, of which a hostile
// file may have as many as it likes.
template <class Json>
std::string json_text(const Json& value) {
  if (value.is_array()) return fmt::format("a list of {}", value.size());
  if (value.is_object()) return fmt::format("an object of {} fields", value.size());
  constexpr std::size_t kLongest = 60;
  std::string text = value.dump(-1, ' ', true, Json::error_handler_t::replace);
  if (text.size() > kLongest) text = text.substr(0, kLongest) + "...";
  return text;
}

}  // namespace maru
