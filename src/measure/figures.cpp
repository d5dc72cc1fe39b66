#include "measure/figures.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <optional>

#include "measure/facts.h"
#include "measure/html.h"

namespace maru::measure {
namespace {

struct Bar {
  std::string name, look;
  Interval value;
  std::optional<double> inner;    // the part of it that is drawn fully, the rest being pale
  std::optional<Interval> ratio;  // to the first
};

struct Bars {
  std::string title, absent_title;
  Unit unit;
  std::vector<Bar> bars;
  std::vector<std::string> absent;  // what to say where there are none
};

constexpr double kBarsWidth = 400, kBarsHeight = 300;

const WayRatio* ratio_of(const BenchResult& result, std::size_t way) {
  const auto found = std::ranges::find(result.ratios, way, &WayRatio::way);
  return found == result.ratios.end() ? nullptr : &*found;
}

// One block alone has no interval: it reaches from 0 to infinity.
bool has_bounds(const Interval& interval) {
  return std::isfinite(interval.low) && std::isfinite(interval.high);
}

std::string bounds_of(const Interval& interval, const Unit& unit) {
  if (!has_bounds(interval)) return "no interval";
  return fmt::format("{} to {}", unit.number(interval.low), unit.number(interval.high));
}

double reach_of(const Interval& interval) {
  return has_bounds(interval) ? std::max(interval.value, interval.high) : interval.value;
}

Bars time_of(const BenchResult& result) {
  Bars bars;
  double largest = 0;
  for (std::size_t way = 0; way < result.ways.size(); ++way) {
    const WayResult& one = result.ways[way];
    const WayRatio* ratio = ratio_of(result, way);
    bars.bars.push_back({one.name, way_look(way), one.median, std::nullopt,
                         ratio ? std::optional(ratio->seconds) : std::nullopt});
    largest = std::max(largest, reach_of(one.median));
  }
  bars.unit = seconds_unit(largest);
  bars.title = fmt::format(
      "Time of {}, {}",
      result.model.batch == 1 ? "an image" : fmt::format("a run of {} images", result.model.batch),
      bars.unit.name);
  return bars;
}

Bars energy_of(const BenchResult& result) {
  Bars bars;
  double largest = 0;
  for (std::size_t way = 0; way < result.ways.size(); ++way) {
    const WayResult& one = result.ways[way];
    if (!one.joules) continue;
    const WayRatio* ratio = ratio_of(result, way);
    bars.bars.push_back({one.name, way_look(way), *one.joules,
                         one.joules_net ? std::optional(one.joules_net->value) : std::nullopt,
                         ratio ? ratio->joules : std::nullopt});
    largest = std::max(largest, reach_of(*one.joules));
  }
  bars.unit = joules_unit(largest);
  bars.title = fmt::format("Energy of an image, {}", bars.unit.name);
  bars.absent_title = "Energy of an image: n/a";
  bars.absent = why_no_energy(result.meter_absences);
  return bars;
}

void draw_absent(Svg& svg, double left, double width, double height, const Bars& bars) {
  svg.text(left + 4, 20, "strong", bars.absent_title);
  svg.rect(left + 4, 34, width - 8, height - 44, "off");
  double y = 60;
  for (const std::string& line : bars.absent) {
    for (const std::string& part : wrapped(line, 52)) {
      if (y > height - 18) return;
      svg.text(left + 18, y, "small soft", part);
      y += 16;
    }
    y += 6;
  }
}

void draw_bar(Svg& svg, const Bar& bar, double middle, double slot, double bottom, const auto& y_of,
              const Unit& unit) {
  const double wide = std::min(slot * 0.58, 84.0), left = middle - wide / 2;
  const double top = y_of(bar.value.value), high = y_of(bar.value.high), low = y_of(bar.value.low);
  const std::string tip =
      fmt::format("{}: {} ({})", bar.name, unit(bar.value.value), bounds_of(bar.value, unit));
  if (bar.inner) {
    svg.rect(left, top, wide, bottom - top, "shade " + bar.look);
    const double inner = y_of(std::max(*bar.inner, 0.0));
    svg.rect(left, inner, wide, bottom - inner, bar.look, tip);
  } else {
    svg.rect(left, top, wide, bottom - top, bar.look, tip);
  }
  if (has_bounds(bar.value)) {
    svg.line(middle, high, middle, low, "whisker");
    for (const double end : {high, low}) svg.line(middle - 7, end, middle + 7, end, "whisker");
  }
  svg.text(middle, (has_bounds(bar.value) ? std::min(high, top) : top) - 7, "mid strong",
           unit.number(bar.value.value));
  svg.text(middle, bottom + 18, "mid", bar.name);
  if (!bar.ratio) return;
  svg.text(middle, bottom + 35, "mid small strong " + bar.look,
           fmt::format("× {:.2f}", bar.ratio->value));
  svg.text(middle, bottom + 50, "mid small soft",
           has_bounds(*bar.ratio) ? fmt::format("{:.2f} to {:.2f}", bar.ratio->low, bar.ratio->high)
                                  : "no interval");
}

// Into the part of the drawing that begins at `left`.
void draw_bars(Svg& svg, double left, double width, double height, const Bars& bars) {
  if (bars.bars.empty()) return draw_absent(svg, left, width, height, bars);
  double largest = 0;
  for (const Bar& bar : bars.bars) largest = std::max(largest, reach_of(bar.value));
  const Axis axis = axis_over(0, largest / bars.unit.factor, 5);
  const double x = left + 44, top = 52, bottom = height - 62, right = left + width - 8;
  const auto y_of = [&](double value) {
    return bottom - (bottom - top) * axis.place(value / bars.unit.factor);
  };
  svg.text(left + 4, 20, "strong", bars.title);
  for (const double tick : axis.ticks()) {
    const double y = y_of(tick * bars.unit.factor);
    svg.line(x, y, right, y, tick == 0 ? "axis" : "rule");
    svg.text(x - 6, y + 4, "end small soft", axis.label(tick));
  }
  const double slot = (right - x) / static_cast<double>(bars.bars.size());
  double middle = x + slot / 2;
  for (const Bar& bar : bars.bars) {
    draw_bar(svg, bar, middle, slot, bottom, y_of, bars.unit);
    middle += slot;
  }
}

std::string words_of(const Bars& bars) {
  if (bars.bars.empty()) return bars.absent_title;
  std::string text = bars.title + ".";
  for (const Bar& bar : bars.bars) {
    text += fmt::format(" {}: {}, {}{}.", bar.name, bars.unit(bar.value.value),
                        has_bounds(bar.value) ? "95 % interval " : "", bounds_of(bar.value, bars.unit));
  }
  return text;
}

// The one time axis of samples and power, so that they stand below each other.
struct TimeAxis {
  Axis axis;
  double left, right;
  std::vector<std::pair<double, double>> spans;  // of the blocks

  TimeAxis(const BenchResult& result, double width) : left(52), right(width - 10) {
    double end = 0;
    for (const Block& block : result.blocks) end = std::max(end, block.end);
    for (std::size_t i = 0; i < result.blocks.size(); ++i) {
      const Block& block = result.blocks[i];
      // Without times blocks stand side by side.
      const auto n = static_cast<double>(i);
      spans.push_back(end > 0 ? std::pair(block.begin, block.end) : std::pair(n, n + 0.9));
    }
    axis =
        axis_over(0, end > 0 ? end : static_cast<double>(result.blocks.size()), width > 500 ? 10 : 5);
    axis.high = std::max(end, axis.high - axis.step);  // ends with the last block
    if (end <= 0) axis.high = static_cast<double>(std::max<std::size_t>(result.blocks.size(), 1));
  }

  double operator()(double seconds) const { return left + (right - left) * axis.place(seconds); }

  void draw(Svg& svg, double y) const {
    svg.line(left, y, right, y, "axis");
    for (double tick = axis.low; tick <= axis.high * (1 + 1e-9); tick += axis.step) {
      const double x = (*this)(tick);
      svg.line(x, y, x, y + 4, "axis");
      svg.text(x, y + 17, "mid small soft", axis.label(tick));
    }
    svg.text(right, y + 32, "end small soft", "seconds since the first block began");
  }
};

void draw_legend(Svg& svg, const BenchResult& result, double right, double y) {
  for (std::size_t i = result.ways.size(); i-- > 0;) {
    const std::string& name = result.ways[i].name;
    right -= 7.0 * static_cast<double>(name.size()) + 4;
    svg.text(right, y, "small", name);
    right -= 15;
    svg.rect(right, y - 9, 10, 10, way_look(i));
    right -= 10;
  }
}

double share_below(std::vector<double> values, double share) {
  if (values.empty()) return 0;
  const auto at = static_cast<std::ptrdiff_t>(share * static_cast<double>(values.size() - 1));
  std::ranges::nth_element(values, values.begin() + at);
  return values[static_cast<std::size_t>(at)];
}

// An even choice of at most `most` indices, with those of the least and the largest.
std::vector<std::size_t> thinned(const std::vector<double>& values, std::size_t most) {
  std::vector<std::size_t> chosen;
  const std::size_t step = values.size() / std::max<std::size_t>(most, 1) + 1;
  for (std::size_t i = 0; i < values.size(); i += step) chosen.push_back(i);
  if (step > 1) {
    const auto [least, largest] = std::ranges::minmax_element(values);
    chosen.push_back(static_cast<std::size_t>(least - values.begin()));
    chosen.push_back(static_cast<std::size_t>(largest - values.begin()));
  }
  return chosen;
}

struct Range {
  double low = std::numeric_limits<double>::infinity(), high = 0;
};

// Over all but the slowest half of a hundredth, which would flatten the rest.
Range range_of_samples(const BenchResult& result) {
  std::vector<double> all;
  for (const Block& block : result.blocks)
    all.insert(all.end(), block.seconds.begin(), block.seconds.end());
  if (all.empty()) return {0, 1};
  const double least = *std::ranges::min_element(all), largest = *std::ranges::max_element(all);
  const double most = share_below(all, 0.995);
  const double slack = std::max(most - least, most * 0.02) * 0.1;
  return {least, largest > most + 3 * slack ? most + slack : largest};
}

}  // namespace

std::string letter_of(std::size_t way) { return std::string(1, static_cast<char>('A' + way % 26)); }

std::vector<std::string> why_no_energy(const std::vector<MeterAbsence>& absences) {
  std::vector<std::string> lines;
  for (const MeterAbsence& absence : absences) {
    lines.push_back(absence.name + ": " + absence.why +
                    (absence.remedy.empty() ? "" : "; try " + absence.remedy));
  }
  if (lines.empty()) lines.emplace_back("No meter was asked for; try --meter auto.");
  return lines;
}

std::string interval_text(const Interval& interval, int decimals) {
  if (!has_bounds(interval)) return fmt::format("{:.{}f} (no interval)", interval.value, decimals);
  return fmt::format("{:.{}f} ({:.{}f} to {:.{}f})", interval.value, decimals, interval.low, decimals,
                     interval.high, decimals);
}

Svg time_bars(const BenchResult& result) {
  const Bars bars = time_of(result);
  Svg svg("time", kBarsWidth, kBarsHeight, bars.title, words_of(bars));
  draw_bars(svg, 0, kBarsWidth, kBarsHeight, bars);
  return svg;
}

Svg energy_bars(const BenchResult& result) {
  const Bars bars = energy_of(result);
  Svg svg("energy", kBarsWidth, kBarsHeight, bars.title, words_of(bars));
  draw_bars(svg, 0, kBarsWidth, kBarsHeight, bars);
  return svg;
}

std::string figure_of(const BenchResult& result) {
  const Bars time = time_of(result), energy = energy_of(result);
  constexpr double kHead = 30, kFoot = 26;
  const std::string title =
      fmt::format("{} on {}: {}", result.model.name, result.device, result.device_description);
  Svg svg("figure", 2 * kBarsWidth + 20, kHead + kBarsHeight + kFoot, title,
          words_of(time) + " " + words_of(energy));
  draw_bars(svg, 0, kBarsWidth, kBarsHeight, time);
  draw_bars(svg, kBarsWidth + 20, kBarsWidth, kBarsHeight, energy);
  std::string foot = fmt::format("{} on {}", result.model.name, result.device_description);
  svg.text(4, kBarsHeight + 22, "small soft", foot);
  foot = "median of the runs, 95 % interval";
  if (result.meter) {
    foot += fmt::format("; energy gross, {}, by {}", worth_of(*result.meter), result.meter->name);
    const bool has_net = std::ranges::any_of(
        result.ways, [](const WayResult& way) { return way.joules_net.has_value(); });
    if (has_net) foot += "; pale: what the machine takes when idle";
  }
  svg.text(4, kBarsHeight + 40, "small soft", foot);
  if (result.is_unstable()) {
    svg.text(2 * kBarsWidth + 12, kBarsHeight + 22, "small strong bad end",
             "UNSTABLE: see the report's checks");
  }
  return svg.standalone();
}

Svg samples_figure(const BenchResult& result, double width) {
  constexpr double kTop = 50, kBottom = 250, kHeight = 292;
  constexpr std::size_t kDots = 2400;
  const Range range = range_of_samples(result);
  const Unit unit = seconds_unit(range.high);
  const Axis axis = axis_over(range.low / unit.factor, range.high / unit.factor, 5);
  const TimeAxis time(result, width);
  Svg svg(fmt::format("samples-{}", width > 500 ? "wide" : "narrow"), width, kHeight,
          fmt::format("Samples over time, {}", unit.name),
          fmt::format("Time of each run in {} blocks, in the order in which they were taken.",
                      result.blocks.size()),
          width > 500 ? "wide" : "narrow");
  svg.text(4, 20, "strong",
           fmt::format("{}, {}", width > 500 ? "Time of each run" : "Each run", unit.name));
  draw_legend(svg, result, width - 10, 20);
  const auto y_of = [&](double seconds) {
    return kBottom - (kBottom - kTop) * axis.place(seconds / unit.factor);
  };
  for (const double tick : axis.ticks()) {
    const double y = y_of(tick * unit.factor);
    svg.line(time.left, y, time.right, y, "rule");
    svg.text(time.left - 6, y + 4, "end small soft", axis.label(tick));
  }
  std::vector<std::string> dots(result.ways.size()), above(result.ways.size());
  std::string medians;
  const std::size_t most = kDots / std::max<std::size_t>(result.blocks.size(), 1) + 1;
  for (std::size_t i = 0; i < result.blocks.size(); ++i) {
    const Block& block = result.blocks[i];
    if (block.way >= result.ways.size() || block.seconds.empty()) continue;
    const auto [begin, end] = time.spans[i];
    const double x1 = time(begin), x2 = time(end);
    for (const std::size_t k : thinned(block.seconds, most)) {
      const double place = (static_cast<double>(k) + 0.5) / static_cast<double>(block.seconds.size());
      const double x = x1 + (x2 - x1) * place, y = y_of(block.seconds[k]);
      if (block.seconds[k] / unit.factor > axis.high * (1 + 1e-9)) {
        above[block.way] += at('M', x - 3, kTop) + at('L', x, kTop - 6) + at('L', x + 3, kTop) + "z";
      } else {
        dots[block.way] += at('M', x, y) + "h0";
      }
    }
    const double y = y_of(share_below(block.seconds, 0.5));
    medians += at('M', x1, y) + at('L', std::max(x2, x1 + 2), y);
    if (x2 - x1 > 7)
      svg.text((x1 + x2) / 2, 38, "mid small strong " + way_look(block.way), letter_of(block.way));
  }
  for (std::size_t way = 0; way < result.ways.size(); ++way) {
    svg.path(dots[way], "dots " + way_look(way));
    svg.path(above[way], way_look(way));
  }
  svg.path(medians, "median");
  time.draw(svg, kBottom);
  return svg;
}

std::vector<Reading> power_of(const BenchResult& result) {
  const auto tells = [](const Reading& reading) { return reading.watts.has_value(); };
  if (std::ranges::any_of(result.power, tells)) return result.power;
  constexpr double kPeriods = 5;  // so that the moment of an update matters little
  const double apart = kPeriods * (result.meter ? result.meter->period_seconds : 0);
  std::vector<Reading> steps;
  const Reading* last = nullptr;
  for (const Reading& reading : result.power) {
    if (!reading.joules) continue;
    if (last == nullptr) last = &reading;
    const double seconds = reading.seconds - last->seconds;
    if (seconds <= 0 || seconds < apart) continue;
    const double watts = (*reading.joules - *last->joules) / seconds;
    steps.push_back({last->seconds, last->joules, watts});
    steps.push_back({reading.seconds, reading.joules, watts});
    last = &reading;
  }
  return steps;
}

Svg power_figure(const BenchResult& result, double width) {
  constexpr double kTop = 34, kBottom = 194, kHeight = 236;
  const std::vector<Reading> power = power_of(result);
  double largest = result.idle_watts.value_or(0);
  for (const Reading& reading : power) largest = std::max(largest, reading.watts.value_or(0));
  const Unit unit = watts_unit(largest);
  const Axis axis = axis_over(0, largest / unit.factor, 4);
  const TimeAxis time(result, width);
  Svg svg(fmt::format("power-{}", width > 500 ? "wide" : "narrow"), width, kHeight,
          fmt::format("Power over time, {}", unit.name),
          fmt::format("Power as the meter told it, at most {}; the measured blocks are shaded by way.",
                      unit(largest, 3)),
          width > 500 ? "wide" : "narrow");
  svg.text(4, 20, "strong", fmt::format("Power, {}", unit.name));
  draw_legend(svg, result, width - 10, 20);
  const auto y_of = [&](double watts) {
    return kBottom - (kBottom - kTop) * axis.place(watts / unit.factor);
  };
  for (std::size_t i = 0; i < result.blocks.size(); ++i) {
    const double x = time(time.spans[i].first);
    svg.rect(x, kTop, time(time.spans[i].second) - x, kBottom - kTop,
             "shade " + way_look(result.blocks[i].way));
  }
  for (const double tick : axis.ticks()) {
    const double y = y_of(tick * unit.factor);
    svg.line(time.left, y, time.right, y, "rule");
    svg.text(time.left - 6, y + 4, "end small soft", axis.label(tick));
  }
  // No more points than can be seen, keeping what is highest and lowest among neighbours.
  std::string trace;
  const std::size_t points = static_cast<std::size_t>(width);
  const std::size_t together = power.size() / points + 1;
  bool is_drawing = false;
  for (std::size_t i = 0; i < power.size(); i += together) {
    const std::size_t end = std::min(i + together, power.size());
    std::size_t least = end, most = end;
    for (std::size_t k = i; k < end; ++k) {
      if (!power[k].watts) continue;
      if (least == end || *power[k].watts < *power[least].watts) least = k;
      if (most == end || *power[k].watts > *power[most].watts) most = k;
    }
    if (least == end) {
      is_drawing = false;
      continue;
    }
    for (const std::size_t k : {std::min(least, most), std::max(least, most)}) {
      const Reading& reading = power[k];
      if (reading.seconds < time.axis.low || reading.seconds > time.axis.high) continue;
      trace += at(is_drawing ? 'L' : 'M', time(reading.seconds), y_of(*reading.watts));
      is_drawing = true;
      if (least == most) break;
    }
  }
  svg.path(trace, "trace");
  if (result.idle_watts) {
    const double y = y_of(*result.idle_watts);
    svg.line(time.left, y, time.right, y, "dashed");
    svg.text(time.right - 4, y - 5, "end small soft",
             fmt::format("idle {}", watts_unit(*result.idle_watts)(*result.idle_watts, 3)));
  }
  time.draw(svg, kBottom);
  return svg;
}

Svg ratios_figure(const BenchResult& result, double width) {
  struct Row {
    std::string name, look;
    Interval ratio;
  };
  std::vector<Row> rows;
  for (const WayRatio& ratio : result.ratios) {
    if (ratio.way >= result.ways.size()) continue;
    const std::string& name = result.ways[ratio.way].name;
    rows.push_back({name + ", time", way_look(ratio.way), ratio.seconds});
    if (ratio.joules) rows.push_back({name + ", energy", way_look(ratio.way), *ratio.joules});
  }
  Range range{1, 1};
  for (const Row& row : rows) {
    range.low = std::min(range.low, has_bounds(row.ratio) ? row.ratio.low : row.ratio.value);
    range.high = std::max(range.high, reach_of(row.ratio));
  }
  const double slack = std::max(0.01, (range.high - range.low) * 0.08);
  const Axis axis = axis_over(range.low - slack, range.high + slack, width > 500 ? 8 : 4);
  const bool wide = width > 500;
  const double pitch = wide ? 30 : 44, top = 38, left = wide ? 150 : 12,
               right = width - (wide ? 170 : 12);
  const double bottom = top + pitch * static_cast<double>(rows.size());
  const std::string base = result.ways.empty() ? "" : result.ways[0].name;
  std::string words;
  for (const Row& row : rows) words += fmt::format("{}: {}. ", row.name, interval_text(row.ratio));
  Svg svg(wide ? "ratios-wide" : "ratios-narrow", width, bottom + 40, fmt::format("Ratios to {}", base),
          words, wide ? "wide" : "narrow");
  const auto x_of = [&](double ratio) { return left + (right - left) * axis.place(ratio); };
  svg.text(4, 20, "strong", fmt::format("What each needs, {} being 1", base));
  for (const double tick : axis.ticks()) {
    svg.line(x_of(tick), top, x_of(tick), bottom, "rule");
    svg.text(x_of(tick), bottom + 16, "mid small soft", axis.label(tick));
  }
  svg.line(x_of(1), top - 4, x_of(1), bottom, "whisker");
  svg.text(x_of(1), bottom + 32, "mid small soft", "less ← 1 → more");
  double y = top + (wide ? pitch / 2 : 30);
  for (const Row& row : rows) {
    const double x = x_of(row.ratio.value);
    if (has_bounds(row.ratio)) {
      const double x1 = x_of(row.ratio.low), x2 = x_of(row.ratio.high);
      svg.line(x1, y, x2, y, "whisker");
      for (const double end : {x1, x2}) svg.line(end, y - 5, end, y + 5, "whisker");
    }
    svg.rect(x - 5, y - 5, 10, 10, row.look);
    svg.text(wide ? left - 12 : left, wide ? y + 4 : y - 14, wide ? "end" : "small", row.name);
    svg.text(wide ? right + 14 : right, wide ? y + 4 : y - 14, wide ? "" : "end small",
             interval_text(row.ratio));
    y += pitch;
  }
  return svg;
}

}  // namespace maru::measure
