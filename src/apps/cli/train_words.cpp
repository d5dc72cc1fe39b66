#include "apps/cli/train_words.h"

#include <fmt/format.h>

#include <charconv>
#include <cmath>

#include "apps/cli/command_line.h"
#include "base/text.h"

namespace maru::cli {
namespace {

constexpr std::string_view kAugmentHelp = "'maru train --help'";

std::optional<double> number_in(std::string_view text) {
  double value = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (error != std::errc() || end != text.data() + text.size() || !std::isfinite(value))
    return std::nullopt;
  return value;
}

std::string_view next_word(std::string_view& rest, char separator) {
  const std::size_t end = std::min(rest.find(separator), rest.size());
  const std::string_view word = rest.substr(0, end);
  rest.remove_prefix(std::min(end + 1, rest.size()));
  return word;
}

}  // namespace

double duration_of(std::string_view option, std::string_view text) {
  const auto wrong = [&] {
    return UsageError(option, "a length of time, as 9m, 90s or 1h30m", fmt::format("\"{}\"", text));
  };
  double seconds = 0, last = 0;
  std::string_view rest = text;
  if (rest.empty()) throw wrong();
  while (!rest.empty()) {
    const std::size_t digits = std::min(rest.find_first_not_of("0123456789."), rest.size());
    const std::optional<double> number = number_in(rest.substr(0, digits));
    if (!number) throw wrong();
    rest.remove_prefix(digits);
    const char unit = rest.empty() ? 's' : rest[0];
    const double factor = unit == 's' ? 1 : unit == 'm' ? 60 : unit == 'h' ? 3600 : 0;
    if (factor == 0 || (last != 0 && factor >= last)) throw wrong();
    last = factor;
    seconds += *number * factor;
    if (!rest.empty()) rest.remove_prefix(1);
  }
  return seconds;
}

std::string duration_text(double seconds) {
  if (!std::isfinite(seconds)) return "n/a";
  if (seconds < 60) return fmt::format("{:.1f} s", seconds);
  const auto whole = static_cast<std::int64_t>(std::llround(seconds));
  if (whole < 3600) return fmt::format("{} min {} s", whole / 60, whole % 60);
  return fmt::format("{} h {} min", whole / 3600, whole % 3600 / 60);
}

void apply_augment(std::string_view option, std::string_view words, Augment& augment) {
  std::string_view rest = words;
  while (!rest.empty()) {
    const std::string_view word = next_word(rest, ',');
    std::string_view value = word;
    const std::string_view name = next_word(value, '=');
    const bool has_value = name.size() < word.size();
    const auto number = [&](std::string_view text) {
      const std::optional<double> found = number_in(text);
      if (!found)
        throw UsageError(option, fmt::format("a number for {}", name), fmt::format("\"{}\"", word),
                         kAugmentHelp);
      return *found;
    };
    const auto whole_size = [&] {  // none of the data layer's ways to take a part
      augment.crop = 0;
      augment.area_low = augment.area_high = augment.centre = 0;
    };
    if (name == "area") {
      whole_size();
      augment.area_low = number(next_word(value, ':'));
      augment.area_high = value.empty() ? 1 : number(value);
    } else if (name == "ratio") {
      augment.ratio = number(value);
    } else if (name == "centre" || name == "center") {
      whole_size();
      augment.centre = number(value);
    } else if (name == "brightness") {
      augment.brightness = number(value);
    } else if (name == "contrast") {
      augment.contrast = number(value);
    } else if (name == "saturation") {
      augment.saturation = number(value);
    } else if (name == "resize") {
      augment.new_height = static_cast<std::int64_t>(number(next_word(value, 'x')));
      augment.new_width = value.empty() ? augment.new_height : static_cast<std::int64_t>(number(value));
    } else if (name == "crop") {
      whole_size();
      augment.crop = static_cast<std::int64_t>(number(value));
    } else if (name == "mirror" && !has_value) {
      augment.mirror = true;
    } else if (name == "no-mirror" && !has_value) {
      augment.mirror = false;
    } else if (name == "whole" && !has_value) {
      whole_size();
    } else {
      constexpr std::string_view kNames[] = {"area",       "ratio",    "centre",    "resize",
                                             "crop",       "whole",    "mirror",    "no-mirror",
                                             "brightness", "contrast", "saturation"};
      throw UsageError(option, "words that it knows", fmt::format("\"{}\"", word),
                       fmt::format("{}, or {}", closest_names(name, kNames), kAugmentHelp));
    }
  }
}

}  // namespace maru::cli
