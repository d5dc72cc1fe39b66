#include "base/text.h"

#include <fmt/format.h>

#include <algorithm>
#include <numeric>
#include <utility>
#include <vector>

namespace maru {
namespace {

std::size_t edit_distance(std::string_view a, std::string_view b) {
  std::vector<std::size_t> row(b.size() + 1);
  std::iota(row.begin(), row.end(), std::size_t{0});
  for (std::size_t i = 1; i <= a.size(); ++i) {
    std::size_t diagonal = std::exchange(row[0], i);
    for (std::size_t j = 1; j <= b.size(); ++j) {
      const std::size_t replaced = diagonal + (a[i - 1] == b[j - 1] ? 0 : 1);
      diagonal = row[j];
      row[j] = std::min({replaced, row[j] + 1, row[j - 1] + 1});
    }
  }
  return row.back();
}

}  // namespace

bool are_similar(std::string_view a, std::string_view b) {
  const std::size_t most = std::min(a.size(), b.size()) < 5 ? 1 : 2;
  return edit_distance(a, b) <= most;
}

std::string closest_names(std::string_view wanted, std::span<const std::string_view> names) {
  std::vector<std::pair<std::size_t, std::string_view>> ranked;
  for (const std::string_view name : names) {
    const bool contains = !wanted.empty() && name.find(wanted) != std::string_view::npos;
    ranked.emplace_back(contains ? 0 : edit_distance(wanted, name), name);
  }
  std::ranges::stable_sort(ranked, {}, [](const auto& entry) { return entry.first; });
  const std::size_t near = std::max<std::size_t>(2, wanted.size() / 2);
  if (!ranked.empty() && ranked.front().first <= near) {
    std::erase_if(ranked, [&](const auto& entry) { return entry.first > near; });
  }
  std::vector<std::string_view> shown;
  for (const auto& [distance, name] : ranked) {
    if (shown.size() < 3 && std::ranges::find(shown, name) == shown.end()) shown.push_back(name);
  }
  std::string text;
  for (std::size_t i = 0; i < shown.size(); ++i) {
    if (i > 0) text += i + 1 == shown.size() ? " or " : ", ";
    text += shown[i];
  }
  return text;
}

std::string human_bytes(double bytes) {
  const char* const units[] = {"B", "kB", "MB", "GB", "TB"};
  std::size_t unit = 0;
  while (bytes >= 1000 && unit + 1 < std::size(units)) {
    bytes /= 1000;
    ++unit;
  }
  return unit == 0 ? fmt::format("{:.0f} B", bytes) : fmt::format("{:.1f} {}", bytes, units[unit]);
}

}  // namespace maru
