#include "import/prototxt.h"

#include <fmt/format.h>

#include <algorithm>
#include <charconv>
#include <limits>

#include "base/error.h"
#include "base/text.h"

namespace maru {
namespace {

constexpr int kMaxDepth = 100;
constexpr std::size_t kMaxBytes = 64'000'000;

bool is_digit(char c) { return c >= '0' && c <= '9'; }
bool is_letter(char c) { return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '_'; }
bool is_space(char c) { return c == ' ' || (c >= '\t' && c <= '\r'); }

int digit_of(char c) {  // in base 16; 99 for none
  if (is_digit(c)) return c - '0';
  if (c >= 'a' && c <= 'f') return c - 'a' + 10;
  if (c >= 'A' && c <= 'F') return c - 'A' + 10;
  return 99;
}

bool is_hex(std::string_view text) { return text.starts_with("0x") || text.starts_with("0X"); }

// "0x1F", "017", "42" without a sign.
bool is_integer(std::string_view text) {
  if (is_hex(text)) {
    return text.size() > 2 &&
           std::all_of(text.begin() + 2, text.end(), [](char c) { return digit_of(c) < 16; });
  }
  const int base = text.size() > 1 && text[0] == '0' ? 8 : 10;
  return !text.empty() && std::ranges::all_of(text, [&](char c) { return digit_of(c) < base; });
}

// "1", "1.", ".5", "1e-3", "1.5f" without a sign; no leading zeros before another digit.
bool is_decimal(std::string_view text) {
  std::size_t at = 0;
  const auto digits = [&] {
    const std::size_t from = at;
    while (at < text.size() && is_digit(text[at])) ++at;
    return at - from;
  };
  const std::size_t whole = digits();
  if (whole > 1 && text[0] == '0') return false;
  std::size_t part = 0;
  if (at < text.size() && text[at] == '.') {
    ++at;
    part = digits();
  }
  if (whole + part == 0) return false;
  if (at < text.size() && (text[at] == 'e' || text[at] == 'E')) {
    ++at;
    if (at < text.size() && (text[at] == '+' || text[at] == '-')) ++at;
    if (digits() == 0) return false;
  }
  if (at < text.size() && (text[at] == 'f' || text[at] == 'F')) ++at;
  return at == text.size();
}

std::string lower(std::string_view text) {
  std::string result(text);
  for (char& c : result) {
    if (c >= 'A' && c <= 'Z') c = static_cast<char>(c - 'A' + 'a');
  }
  return result;
}

// inf or nan as protobuf spells them, without a sign.
std::optional<double> special_number(std::string_view text) {
  const std::string word = lower(text);
  if (word == "inf" || word == "infinity" || word == "inff" || word == "infinityf") {
    return std::numeric_limits<double>::infinity();
  }
  if (word == "nan" || word == "nanf") return std::numeric_limits<double>::quiet_NaN();
  return std::nullopt;
}

void append_utf8(std::string& text, std::uint32_t code) {
  const auto put = [&](std::uint32_t byte) {
    text += static_cast<char>(static_cast<unsigned char>(byte));
  };
  if (code < 0x80) {
    put(code);
  } else if (code < 0x800) {
    put(0xC0 | code >> 6);
    put(0x80 | (code & 0x3F));
  } else if (code < 0x10000) {
    put(0xE0 | code >> 12);
    put(0x80 | (code >> 6 & 0x3F));
    put(0x80 | (code & 0x3F));
  } else {
    put(0xF0 | code >> 18);
    put(0x80 | (code >> 12 & 0x3F));
    put(0x80 | (code >> 6 & 0x3F));
    put(0x80 | (code & 0x3F));
  }
}

class Parser {
 public:
  Parser(std::string_view text, std::string_view file) : text_(text), file_(file) {}

  Message run() {
    check_text();
    Message root;
    skip();
    while (!done()) {
      if (peek() == '}' || peek() == '>') fail("a field name", "a closing brace that nothing opened");
      field(root, 0);
    }
    return root;
  }

 private:
  bool done() const { return at_ == text_.size(); }
  char peek() const { return done() ? '\0' : text_[at_]; }

  std::string here() const {
    if (done()) return "the end of the file";
    const auto c = static_cast<unsigned char>(text_[at_]);
    if (c == '\n' || c == '\r') return "the end of the line";
    if (c < 0x20 || c >= 0x7F) return fmt::format("byte 0x{:02x}", c);
    return fmt::format("'{}'", text_[at_]);
  }

  [[noreturn]] void fail(std::string_view expected, std::string_view got,
                         std::string_view hint = {}) const {
    throw Error(fmt::format("{}:{}", file_, line_), expected, got, hint);
  }

  // Files of another kind get a better answer than "a field name, got byte 0x89".
  void check_text() {
    if (text_.size() > kMaxBytes) {
      fail("a network definition of at most 64 MB", human_bytes(static_cast<double>(text_.size())),
           "checking that this is the .prototxt");
    }
    if (text_.find('\0') != std::string_view::npos) {
      fail("a network definition in protobuf text", "a binary file",
           "the .prototxt in this place and the .caffemodel as the weights");
    }
    if (text_.starts_with("\xEF\xBB\xBF")) at_ = 3;  // UTF-8 byte order mark
    std::size_t first = at_;
    while (first < text_.size() && is_space(text_[first])) ++first;
    const std::string start = lower(text_.substr(first, 32));
    if (start.starts_with("<!doctype") || start.starts_with("<html")) {
      fail("a network definition in protobuf text", "a web page", "fetching the raw file");
    }
    if (start.starts_with("version https://git-lfs")) {
      fail("a network definition in protobuf text", "a Git LFS pointer", "git lfs pull");
    }
  }

  void skip() {  // white space and comments
    for (; !done(); ++at_) {
      const char c = text_[at_];
      if (c == '#') {
        at_ = std::min(text_.find('\n', at_), text_.size());
        if (done()) return;
        ++line_;
      } else if (c == '\n') {
        ++line_;
      } else if (!is_space(c)) {
        return;
      }
    }
  }

  bool take(char c) {
    if (peek() != c || done()) return false;
    ++at_;
    skip();
    return true;
  }

  std::string_view word() {
    const std::size_t from = at_;
    while (!done() && (is_letter(text_[at_]) || is_digit(text_[at_]))) ++at_;
    return text_.substr(from, at_ - from);
  }

  void field(Message& into, int depth) {
    const int line = line_;
    if (!is_letter(peek())) {
      const bool slashes = text_.substr(at_).starts_with("//") || text_.substr(at_).starts_with("/*");
      fail("a field name", here(), slashes ? "# for comments" : "");
    }
    const std::string_view name = word();
    skip();
    const bool colon = take(':');
    if (take('[')) {
      if (!colon && peek() != '{' && peek() != '<') fail(fmt::format("':' after {}", name), "'['");
      if (peek() != ']') {
        do {
          value(into, name, line_, depth);
        } while (take(','));
      }
      if (!take(']')) fail(fmt::format("',' or ']' in the list {}", name), here());
    } else {
      if (!colon && peek() != '{' && peek() != '<')
        fail(fmt::format("':' or '{{' after {}", name), here());
      value(into, name, line, depth);
    }
    if (!take(';')) take(',');
  }

  void value(Message& into, std::string_view name, int line, int depth) {
    const char c = peek();
    Field added;
    added.name = name;
    added.line = line;
    if (c == '{' || c == '<') {
      block(added.message, name, depth + 1);
      added.kind = Field::Kind::message;
    } else if (c == '"' || c == '\'') {
      added.kind = Field::Kind::string;
      while (peek() == '"' || peek() == '\'') quoted(added.text);
    } else if (c == '-' || c == '.' || is_digit(c)) {
      added.kind = Field::Kind::number;
      added.text = number();
    } else if (is_letter(c)) {
      added.kind = Field::Kind::word;
      added.text = word();
      skip();
    } else {
      fail(fmt::format("a value for {}", name), here());
    }
    into.fields.push_back(std::move(added));
  }

  void block(Message& message, std::string_view name, int depth) {
    const int opened = line_;
    const char open = peek(), close = open == '{' ? '}' : '>';
    if (depth > kMaxDepth) {
      fail(fmt::format("at most {} nested blocks", kMaxDepth), "more", "checking that braces pair");
    }
    take(open);
    while (!take(close)) {
      if (done() || peek() == '}' || peek() == '>') {
        fail(fmt::format("'{}' for the block {} of line {}", close, name, opened), here(),
             "checking that braces pair");
      }
      field(message, depth);
    }
  }

  std::string number() {
    std::string result;
    if (take('-')) result = "-";
    const std::size_t from = at_;
    while (!done()) {
      const char c = text_[at_];
      const bool exponent = at_ > from && (text_[at_ - 1] == 'e' || text_[at_ - 1] == 'E') &&
                            !is_hex(text_.substr(from, at_ - from));
      if (!is_letter(c) && !is_digit(c) && c != '.' && !((c == '+' || c == '-') && exponent)) break;
      ++at_;
    }
    const std::string_view digits = text_.substr(from, at_ - from);
    if (digits.empty()) fail("a number after '-'", here());
    if (!is_integer(digits) && !is_decimal(digits) && !special_number(digits)) {
      fail("a number", fmt::format("{}{}", result, digits.substr(0, 40)));
    }
    skip();
    return result.append(digits);
  }

  void quoted(std::string& into) {
    const char quote = text_[at_++];
    while (true) {
      const std::size_t from = at_;
      while (!done() && text_[at_] != quote && text_[at_] != '\\' && text_[at_] != '\n') ++at_;
      into.append(text_.substr(from, at_ - from));
      if (done() || text_[at_] == '\n')
        fail(fmt::format("a closing {} on the same line", quote), here());
      if (text_[at_++] == quote) break;
      escape(into);
    }
    skip();
  }

  // A code of up to `most` digits.
  std::uint32_t code(int base, int least, int most) {
    std::uint32_t value = 0;
    int count = 0;
    for (; count < most && !done() && digit_of(text_[at_]) < base; ++count) {
      value =
          value * static_cast<std::uint32_t>(base) + static_cast<std::uint32_t>(digit_of(text_[at_++]));
    }
    if (count < least) fail(fmt::format("{} digits in the escape", least), here());
    return value;
  }

  void escape(std::string& into) {  // after the backslash
    if (done()) fail("an escape after '\\'", here());
    constexpr std::string_view kNames = "nrtabfv\\'\"?", kCodes = "\n\r\t\a\b\f\v\\'\"?";
    const char c = text_[at_];
    if (const std::size_t known = kNames.find(c); known != std::string_view::npos) {
      ++at_;
      into += kCodes[known];
    } else if (digit_of(c) < 8) {
      into += static_cast<char>(static_cast<unsigned char>(code(8, 1, 3)));
    } else if (c == 'x' || c == 'X') {
      ++at_;
      into += static_cast<char>(static_cast<unsigned char>(code(16, 1, 2)));
    } else if (c == 'u' || c == 'U') {
      ++at_;
      const std::uint32_t point = c == 'u' ? code(16, 4, 4) : code(16, 8, 8);
      if (point > 0x10FFFF) fail("a Unicode code point", fmt::format("U+{:X}", point));
      append_utf8(into, point);
    } else {
      fail("an escape such as \\n or \\\\", fmt::format("'\\' and {}", here()));
    }
  }

  std::string_view text_, file_;
  std::size_t at_ = 0;
  int line_ = 1;
};

}  // namespace

const Field* Message::find(std::string_view name) const {
  for (const Field& field : fields) {
    if (field.name == name) return &field;
  }
  return nullptr;
}

std::vector<const Field*> Message::all(std::string_view name) const {
  std::vector<const Field*> found;
  for (const Field& field : fields) {
    if (field.name == name) found.push_back(&field);
  }
  return found;
}

void Message::erase(std::string_view name) {
  std::erase_if(fields, [&](const Field& field) { return field.name == name; });
}

Field& Message::add_number(std::string_view name, int line, std::string_view text) {
  return fields.emplace_back(
      Field{std::string(name), line, Field::Kind::number, std::string(text), {}});
}

Field& Message::add_string(std::string_view name, int line, std::string_view text) {
  return fields.emplace_back(
      Field{std::string(name), line, Field::Kind::string, std::string(text), {}});
}

Field& Message::add_message(std::string_view name, int line) {
  return fields.emplace_back(Field{std::string(name), line, Field::Kind::message, {}, {}});
}

std::optional<std::int64_t> Field::integer() const {
  if (kind != Kind::number) return std::nullopt;
  const bool negative = text.starts_with('-');
  std::string_view digits = std::string_view(text).substr(negative ? 1 : 0);
  if (!is_integer(digits)) return std::nullopt;
  int base = 10;
  if (is_hex(digits)) {
    base = 16;
    digits.remove_prefix(2);
  } else if (digits.size() > 1 && digits[0] == '0') {
    base = 8;
  }
  std::uint64_t magnitude = 0;
  const auto [end, error] =
      std::from_chars(digits.data(), digits.data() + digits.size(), magnitude, base);
  constexpr auto kMax = static_cast<std::uint64_t>(std::numeric_limits<std::int64_t>::max());
  if (error != std::errc() || end != digits.data() + digits.size() || magnitude > kMax)
    return std::nullopt;
  const auto value = static_cast<std::int64_t>(magnitude);
  return negative ? -value : value;
}

std::optional<double> Field::number() const {
  if (kind != Kind::number && kind != Kind::word) return std::nullopt;
  const bool negative = text.starts_with('-');
  std::string_view digits = std::string_view(text).substr(negative ? 1 : 0);
  std::optional<double> value = special_number(digits);
  if (!value) {
    if (kind == Kind::word || !is_decimal(digits)) return std::nullopt;
    if (digits.back() == 'f' || digits.back() == 'F') digits.remove_suffix(1);
    double parsed = 0;
    const auto [end, error] = std::from_chars(digits.data(), digits.data() + digits.size(), parsed);
    if (error != std::errc() || end != digits.data() + digits.size()) return std::nullopt;
    value = parsed;
  }
  return negative ? -*value : *value;
}

std::optional<bool> Field::boolean() const {
  if (kind == Kind::word) {
    if (text == "true" || text == "True" || text == "t") return true;
    if (text == "false" || text == "False" || text == "f") return false;
  }
  const auto value = integer();
  if (value == 0 || value == 1) return *value == 1;
  return std::nullopt;
}

std::string Field::str() const {
  if (kind == Kind::message) return "a block { }";
  std::string shown;
  for (const char c : std::string_view(text).substr(0, 60)) shown += c >= 0x20 && c < 0x7F ? c : '?';
  if (text.size() > 60) shown += "...";
  return kind == Kind::string ? fmt::format("\"{}\"", shown) : shown;
}

Message parse_prototxt(std::string_view text, std::string_view file) {
  return Parser(text, file).run();
}

}  // namespace maru
