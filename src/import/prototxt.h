// Reader of the text form of protocol buffers (prototxt) into a plain tree, without a schema: what a
// field means is up to its reader. The tree owns all its text. Values; no state is shared between
// threads.
//
// Accepted is what protobuf's own TextFormat accepts: '#' comments, "name: value", "name { }" and
// "name: { }" with {} or <>, lists "[a, b]" (one field per entry), ';' or ',' after a field, strings in
// either quote with C escapes and concatenation, integers in base 10, 16 and 8, floats with an 'f',
// inf, nan.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace maru {

struct Field;

// The fields of one block, in the order of the file; a name may repeat.
struct Message {
  std::vector<Field> fields;

  bool has(std::string_view name) const { return find(name) != nullptr; }
  // The first field of that name, or nullptr. Valid until the message changes.
  const Field* find(std::string_view name) const;
  std::vector<const Field*> all(std::string_view name) const;
  void erase(std::string_view name);  // every field of that name

  Field& add_number(std::string_view name, int line, std::string_view text);
  Field& add_string(std::string_view name, int line, std::string_view text);
  Field& add_message(std::string_view name, int line);
};

struct Field {
  enum class Kind : std::uint8_t { number, word, string, message };

  std::string name;
  int line = 0;  // from 1
  Kind kind = Kind::message;
  std::string text;  // number and word as written, sign included; string without quotes and escapes
  Message message;   // only for Kind::message

  bool is_message() const { return kind == Kind::message; }
  // Nothing where the field is no such value, or out of range. boolean: true, false, t, f, 1, 0.
  std::optional<std::int64_t> integer() const;
  std::optional<double> number() const;
  std::optional<bool> boolean() const;
  // For errors: 3, MAX, "data", "a block { }"; long text is cut.
  std::string str() const;
};

// Throws Error with "file:line" as its place. At most 64 MB of text and 100 nested blocks.
Message parse_prototxt(std::string_view text, std::string_view file);

}  // namespace maru
