#include "apps/cli/gpu_number.h"

#include <charconv>

namespace maru::cli {
namespace {

std::optional<int> number_in(std::string_view word) {
  while (word.starts_with(' ')) word.remove_prefix(1);
  while (word.ends_with(' ')) word.remove_suffix(1);
  int number = 0;
  const auto [end, error] = std::from_chars(word.data(), word.data() + word.size(), number);
  if (error != std::errc() || end != word.data() + word.size() || number < 0) return std::nullopt;
  return number;
}

}  // namespace

std::optional<int> gpu_number(std::string_view device, const char* visible) {
  constexpr std::string_view kBackend = "cuda";
  if (!device.starts_with(kBackend)) return std::nullopt;
  device.remove_prefix(kBackend.size());
  if (!device.empty() && !device.starts_with(':')) return std::nullopt;
  const std::optional<int> ordinal = device.empty() ? 0 : number_in(device.substr(1));
  if (!ordinal || visible == nullptr) return ordinal;
  std::string_view list = visible;
  for (int place = 0;; ++place) {
    const std::size_t comma = list.find(',');
    const std::optional<int> number = number_in(list.substr(0, comma));
    if (!number || place == *ordinal) return number;  // CUDA sees nothing after what is no GPU
    if (comma == std::string_view::npos) return std::nullopt;
    list.remove_prefix(comma + 1);
  }
}

std::string gpu_name(std::string_view description) {
  const std::size_t end = description.find(", compute capability ");
  return std::string(end == std::string_view::npos ? "" : description.substr(0, end));
}

}  // namespace maru::cli
