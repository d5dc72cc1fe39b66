#include "apps/cli/json.h"

#include <fmt/format.h>

#include <charconv>
#include <cmath>

namespace maru::cli {

void print_json(Output& out, const Json& document) {
  // A file name need not be UTF-8, JSON must be.
  out.write(document.dump(2, ' ', false, Json::error_handler_t::replace) + '\n');
}

Json to_json(float value) {
  if (!std::isfinite(value)) return nullptr;
  const std::string shortest = fmt::format("{}", value);
  double number = 0;
  std::from_chars(shortest.data(), shortest.data() + shortest.size(), number);
  return number;
}

}  // namespace maru::cli
