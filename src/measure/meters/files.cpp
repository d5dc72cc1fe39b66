#include <fcntl.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cmath>
#include <cstdlib>

#include "measure/meters/meters.h"

namespace maru::measure {

std::optional<std::string> read_text(const std::filesystem::path& path) {
  const int file = ::open(path.c_str(), O_RDONLY | O_CLOEXEC);
  if (file < 0) return std::nullopt;
  std::string text;
  char part[512];
  ssize_t got = 0;
  while ((got = ::read(file, part, sizeof part)) > 0) text.append(part, static_cast<std::size_t>(got));
  const int failed = errno;
  ::close(file);
  if (got < 0) {
    errno = failed;
    return std::nullopt;
  }
  while (!text.empty() && (text.back() == '\n' || text.back() == '\0')) text.pop_back();
  return text;
}

std::optional<double> parse_number(std::string_view text) {
  while (!text.empty() && std::isspace(static_cast<unsigned char>(text.front())) != 0)
    text.remove_prefix(1);
  while (!text.empty() && std::isspace(static_cast<unsigned char>(text.back())) != 0)
    text.remove_suffix(1);
  if (text.empty()) return std::nullopt;
  const std::string copy(text);
  char* end = nullptr;
  const double value = std::strtod(copy.c_str(), &end);
  if (end != copy.c_str() + copy.size()) return std::nullopt;
  return value;
}

double step_of(std::string_view number) {
  const std::size_t exponent_at = number.find_first_of("eE");
  const std::string_view mantissa = number.substr(0, exponent_at);
  const std::size_t point = mantissa.find('.');
  int power = 0;
  if (exponent_at != std::string_view::npos)
    power = std::atoi(std::string(number.substr(exponent_at + 1)).c_str());
  if (point != std::string_view::npos)
    power -= static_cast<int>(std::count_if(mantissa.begin() + static_cast<std::ptrdiff_t>(point),
                                            mantissa.end(),
                                            [](unsigned char c) { return std::isdigit(c); }));
  return std::pow(10.0, power);
}

std::string board_model(const std::filesystem::path& root) {
  return read_text(root / "proc/device-tree/model").value_or("");
}

}  // namespace maru::measure
