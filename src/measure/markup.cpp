#include "measure/markup.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <cmath>

#include "base/text.h"

namespace maru::measure {
namespace {

constexpr std::string_view kReplacement = "\xEF\xBF\xBD";

// Bytes of the character that begins here; 0 where none does.
std::size_t utf8_length(std::string_view text) {
  const auto byte = [&](std::size_t i) { return static_cast<unsigned char>(text[i]); };
  const unsigned char first = byte(0);
  if (first < 0x80) return 1;
  const std::size_t length = first >= 0xC2 && first < 0xE0   ? 2
                             : first >= 0xE0 && first < 0xF0 ? 3
                             : first >= 0xF0 && first < 0xF5 ? 4
                                                             : 0;
  if (length == 0 || length > text.size()) return 0;
  for (std::size_t i = 1; i < length; ++i) {
    if ((byte(i) & 0xC0) != 0x80) return 0;
  }
  // Longer than needed, surrogates, beyond Unicode.
  if ((first == 0xE0 && byte(1) < 0xA0) || (first == 0xED && byte(1) >= 0xA0)) return 0;
  if ((first == 0xF0 && byte(1) < 0x90) || (first == 0xF4 && byte(1) >= 0x90)) return 0;
  if (text.substr(0, length) == "\xEF\xBF\xBE" || text.substr(0, length) == "\xEF\xBF\xBF") return 0;
  return length;
}

// Enough for what is drawn at a few hundred units across.
std::string tenths(double value) {
  if (!std::isfinite(value)) value = 0;
  const double rounded = std::round(value * 10) / 10;
  return fmt::format("{}", rounded == 0 ? 0.0 : rounded);
}

struct Prefix {
  double factor;
  std::string_view name;
};

Unit unit_of(double largest, std::string_view base, std::initializer_list<Prefix> prefixes) {
  const Prefix* chosen = std::data(prefixes);
  for (const Prefix& prefix : prefixes) {
    if (largest >= prefix.factor) chosen = &prefix;
  }
  return {chosen->factor, std::string(chosen->name) + std::string(base)};
}

}  // namespace

std::string escaped(std::string_view text) {
  std::string result;
  while (!text.empty()) {
    const std::size_t length = utf8_length(text);
    const auto first = static_cast<unsigned char>(text[0]);
    if (length == 0 || first == 0x7F || (first < 0x20 && first != '\t' && first != '\n')) {
      result += kReplacement;
    } else if (first == '&') {
      result += "&amp;";
    } else if (first == '<') {
      result += "&lt;";
    } else if (first == '>') {
      result += "&gt;";
    } else if (first == '"') {
      result += "&quot;";
    } else if (first == '\'') {
      result += "&#39;";
    } else {
      result += text.substr(0, length);
    }
    text.remove_prefix(std::max<std::size_t>(length, 1));
  }
  return result;
}

std::string digits_of(double value, int significant) {
  if (!std::isfinite(value)) return "n/a";
  if (value == 0) return "0";
  int magnitude = static_cast<int>(std::floor(std::log10(std::abs(value))));
  // 9.996 to three digits is 10.0, which has one digit more before the point.
  const double unit = std::pow(10.0, magnitude - significant + 1);
  if (std::abs(std::round(value / unit) * unit) >= std::pow(10.0, magnitude + 1)) ++magnitude;
  return fmt::format("{:.{}f}", value, std::clamp(significant - 1 - magnitude, 0, 12));
}

std::string Unit::number(double value, int significant) const {
  return digits_of(value / factor, significant);
}

std::string Unit::operator()(double value, int significant) const {
  return number(value, significant) + " " + name;
}

Unit seconds_unit(double largest) { return unit_of(largest, "s", {{1e-6, "µ"}, {1e-3, "m"}, {1, ""}}); }
Unit joules_unit(double largest) {
  return unit_of(largest, "J", {{1e-6, "µ"}, {1e-3, "m"}, {1, ""}, {1e3, "k"}});
}
Unit watts_unit(double largest) { return unit_of(largest, "W", {{1e-3, "m"}, {1, ""}, {1e3, "k"}}); }
Unit rate_unit(double largest, std::string_view what) {
  return unit_of(largest, what, {{1e6, "M"}, {1e9, "G"}, {1e12, "T"}, {1e15, "P"}});
}
std::string bytes_text(double bytes) { return human_bytes(bytes); }

std::vector<double> Axis::ticks() const {
  std::vector<double> all;
  const auto count = static_cast<int>(std::floor((high - low) / step + 1e-6));
  for (int i = 0; i <= count; ++i) all.push_back(low + i * step);
  return all;
}

std::string Axis::label(double tick) const {
  return fmt::format("{:.{}f}", std::abs(tick) < step / 2 ? 0.0 : tick, decimals);
}

double Axis::place(double value) const {
  return std::isfinite(value) ? std::clamp((value - low) / (high - low), 0.0, 1.0) : 0;
}

Axis axis_over(double low, double high, int about) {
  if (!std::isfinite(low)) low = 0;
  if (!std::isfinite(high)) high = low;
  // A range of nothing gets some width, so that there are ticks.
  if (high - low <= std::abs(high) * 1e-9) high = low + (low == 0 ? 1 : std::abs(low) * 0.1);
  const double least = (high - low) / about;
  const double power = std::pow(10, std::floor(std::log10(least)));
  double step = power * 10;
  for (const double factor : {5.0, 2.0, 1.0}) {
    if (power * factor >= least * (1 - 1e-9)) step = power * factor;
  }
  Axis axis;
  axis.step = step;
  axis.low = std::floor(low / step + 1e-9) * step;
  axis.high = std::ceil(high / step - 1e-9) * step;
  axis.decimals = std::max(0, -static_cast<int>(std::floor(std::log10(step) + 1e-9)));
  return axis;
}

std::vector<std::string> wrapped(std::string_view text, std::size_t columns) {
  std::vector<std::string> lines{""};
  while (!text.empty()) {
    const std::size_t end = std::min(text.find(' '), text.size());
    const std::string_view word = text.substr(0, end);
    text.remove_prefix(std::min(end + 1, text.size()));
    if (!lines.back().empty() && lines.back().size() + 1 + word.size() > columns) lines.emplace_back();
    if (!lines.back().empty()) lines.back() += ' ';
    lines.back() += word;
  }
  return lines;
}

Svg::Svg(std::string_view id, double width, double height, std::string_view title,
         std::string_view description, std::string_view more)
    : id_(id), title_(title), description_(description), more_(more), width_(width), height_(height) {}

void Svg::rect(double x, double y, double width, double height, std::string_view look,
               std::string_view tip) {
  body_ += fmt::format(R"(<rect x="{}" y="{}" width="{}" height="{}" class="{}")", tenths(x), tenths(y),
                       tenths(std::max(width, 0.0)), tenths(std::max(height, 0.0)), look);
  body_ += tip.empty() ? "/>\n" : fmt::format("><title>{}</title></rect>\n", escaped(tip));
}

void Svg::line(double x1, double y1, double x2, double y2, std::string_view look) {
  body_ += fmt::format(R"(<line x1="{}" y1="{}" x2="{}" y2="{}" class="{}"/>)"
                       "\n",
                       tenths(x1), tenths(y1), tenths(x2), tenths(y2), look);
}

void Svg::path(std::string_view commands, std::string_view look) {
  if (!commands.empty()) body_ += fmt::format("<path d=\"{}\" class=\"{}\"/>\n", commands, look);
}

void Svg::text(double x, double y, std::string_view look, std::string_view words) {
  body_ += fmt::format("<text x=\"{}\" y=\"{}\" class=\"{}\">{}</text>\n", tenths(x), tenths(y), look,
                       escaped(words));
}

void Svg::down(double x, double y, std::string_view look, std::string_view words) {
  body_ += fmt::format("<text transform=\"translate({} {}) rotate(-90)\" class=\"{}\">{}</text>\n",
                       tenths(x), tenths(y), look, escaped(words));
}

std::string Svg::head(bool alone) const {
  const std::string size = fmt::format("viewBox=\"0 0 {} {}\"", tenths(width_), tenths(height_));
  return fmt::format(
      "<svg xmlns=\"http://www.w3.org/2000/svg\" {} {}class=\"{}\" role=\"img\" "
      "aria-labelledby=\"{}-title {}-desc\">\n<title id=\"{}-title\">{}</title>\n"
      "<desc id=\"{}-desc\">{}</desc>\n",
      size, alone ? fmt::format("width=\"{}\" height=\"{}\" ", tenths(width_), tenths(height_)) : "",
      alone ? "figure" : "figure " + more_, id_, id_, id_, escaped(title_), id_, escaped(description_));
}

std::string Svg::str() const { return head(false) + body_ + "</svg>\n"; }

std::string Svg::standalone() const {
  return head(true) + "<style>" + svg_style("svg") + "</style>\n" +
         fmt::format("<rect width=\"{}\" height=\"{}\" class=\"ground\"/>\n", tenths(width_),
                     tenths(height_)) +
         body_ + "</svg>\n";
}

std::string at(char command, double x, double y) {
  return fmt::format("{}{} {}", command, tenths(x), tenths(y));
}

std::string way_look(std::size_t way) { return fmt::format("w{}", way % 5); }

}  // namespace maru::measure
