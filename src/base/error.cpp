#include "base/error.h"

#include <cerrno>
#include <cstring>

namespace maru {
namespace {

std::string sentence(std::string_view where, std::string_view expected, std::string_view got,
                     std::string_view hint) {
  std::string text = fmt::format("[{}] expected {}, got {}", where, expected, got);
  if (!hint.empty()) text += fmt::format("; try {}", hint);
  return text;
}

}  // namespace

Error::Error(std::string_view where, std::string_view expected, std::string_view got,
             std::string_view hint)
    : std::runtime_error(sentence(where, expected, got, hint)),
      where_(where),
      expected_(expected),
      got_(got),
      hint_(hint) {}

Error Error::within(std::string_view outer) const {
  return Error(fmt::format("{}: {}", outer, where_), expected_, got_, hint_);
}

Error system_error(std::string_view where, std::string_view expected, std::string_view hint) {
  return Error(where, expected, std::strerror(errno), hint);
}

void assertion_failed(const char* condition, const char* file, int line) {
  throw std::logic_error(
      fmt::format("maru bug: {} does not hold at {}:{}; please report it", condition, file, line));
}

}  // namespace maru
