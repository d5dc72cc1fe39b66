#include "graph/parse_fields.h"

#include <algorithm>

namespace maru {
namespace {

// Where the value that begins at `text` ends: at a space that stands in no brackets.
std::size_t value_end(std::string_view text) {
  int depth = 0;
  for (std::size_t i = 0; i < text.size(); ++i) {
    if (text[i] == '(' || text[i] == '[') ++depth;
    if (text[i] == ')' || text[i] == ']') --depth;
    if (text[i] == ' ' && depth == 0) return i;
  }
  return text.size();
}

}  // namespace

std::vector<FieldText> split_fields(std::string_view text) {
  std::vector<FieldText> fields;
  while (!text.empty()) {
    const std::size_t equals = text.find('=');
    if (equals == 0 || equals == std::string_view::npos) {
      throw Error("attributes", "name=value with one space between", text);
    }
    FieldText field{text.substr(0, equals), {}};
    text.remove_prefix(equals + 1);
    const std::size_t end = value_end(text);
    field.value = text.substr(0, end);
    text.remove_prefix(std::min(end + 1, text.size()));
    if (std::ranges::find(fields, field.name, &FieldText::name) != fields.end()) {
      throw Error(field.name, "one value", "two");
    }
    fields.push_back(field);
  }
  return fields;
}

std::vector<std::string_view> split_parts(std::string_view text, char separator) {
  std::vector<std::string_view> parts;
  if (text.empty()) return parts;
  for (std::size_t end = 0; end != std::string_view::npos; text.remove_prefix(end + 1)) {
    end = text.find(separator);
    parts.push_back(text.substr(0, end));
    if (end == std::string_view::npos) break;
  }
  return parts;
}

std::string_view between(std::string_view text, std::string_view open, char close) {
  if (!text.starts_with(open) || text.size() <= open.size() || text.back() != close) {
    throw Error("value", fmt::format("{}...{}", open, close), text);
  }
  return text.substr(open.size(), text.size() - open.size() - 1);
}

void parse_field(std::string_view text, bool& value) {
  if (text != "yes" && text != "no") throw Error("value", "yes or no", text);
  value = text == "yes";
}

}  // namespace maru
