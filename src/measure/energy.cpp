// From readings to the energy of a window, and how far off that may be.
//
// Let E(t) be the energy truly used until t, T the meter's period.
//
// Counters. A value J seen first at time t was made at some moment u before it: J <= E(u) <= J + step,
// t - age <= u <= t. Updates come every T, so age <= T; the recorder reads twice a period or more
// often, so it is T/2 unless there is a hole in the trace; or T where T is near the recorder's shortest
// interval of 1 ms, as RAPL's is. E never falls, hence for any moment x, whatever the
// power did between two updates,
//   E(x) >= J of the last value seen at or before x
//   E(x) <= J + step of the first value made at or after x, that is, seen at or after x + its age.
// The estimate joins the points (t - age/2, J) by lines; the farther of both bounds is what it may be
// off. The window's figure is the difference of two such estimates and may be off by the sum of theirs.
// With steady power P this is between 1.5 and 2.5 P T for the whole window, however long it is.
//
// Power. A sample P shown at t is of some moment in [t - T, t]; it is put at t - T/2. Between two
// samples g apart power is taken to go from one to the other at an unknown moment; the trapezoid halves
// that.
//   each edge: the spread of the samples around it for g/2 + T/2, a bound
//   all samples later or earlier together: T/2 |P(end) - P(begin)|, a bound
//   each step dP within the window: its moment is uniform over g, its age over T, which has the
//     variance dP^2 (g^2 + T^2) / 12; there are many, both ways, so twice the root of the sum: 95 %
//   rounding: half a step of power, all the time
// Power that swings faster than T between samples is not in it: a meter that neither counts nor
// averages cannot see that.
#include <algorithm>
#include <cmath>

#include "base/error.h"
#include "measure/recorder.h"

namespace maru::measure {
namespace {

// Reads are never closer than this (recorder.cpp), so that a value may be as old as this.
constexpr double kShortestGap = 1e-3;

struct Point {
  double seconds = 0;  // best guess of when it was so
  double value = 0;
  double seen = 0, age = 0;  // of counters
};

[[noreturn]] void not_covered(const MeterFacts& facts, double begin, double end, std::string_view got) {
  throw Error(fmt::format("meter {}", facts.name),
              fmt::format("readings from before to after the window of {:.3f} s", end - begin), got,
              "a longer window");
}

std::vector<Point> counter_points(const std::vector<Reading>& trace, const MeterFacts& facts) {
  const double period = facts.period_seconds;
  const double usual = std::min(period, std::max(period / 2, kShortestGap));
  std::vector<Point> points;
  for (std::size_t i = 0; i < trace.size(); ++i) {
    if (!trace[i].joules) continue;
    const double joules = *trace[i].joules, seen = trace[i].seconds;
    double age = period;
    if (!points.empty()) {
      if (joules == points.back().value) continue;
      if (joules < points.back().value)
        throw Error(fmt::format("meter {}", facts.name), "a counter that does not go back",
                    fmt::format("{} J after {} J", joules, points.back().value));
      // Older than T/2 when seen, after one that was up to T/3 old: the reads are T/3 apart.
      const bool hole = seen - points.back().seen > 7.0 / 6 * period;
      age = std::min(hole ? period : usual, seen - trace[i - 1].seconds);
    }
    points.push_back({seen - age / 2, joules, seen, age});
  }
  return points;
}

std::vector<Point> power_points(const std::vector<Reading>& trace, const MeterFacts& facts) {
  std::vector<Point> points;
  for (const Reading& reading : trace)
    if (reading.watts) points.push_back({reading.seconds - facts.period_seconds / 2, *reading.watts});
  return points;
}

// Of the first point after x; points reach to both sides of it.
std::size_t after(const std::vector<Point>& points, double x) {
  const auto found = std::ranges::upper_bound(points, x, {}, &Point::seconds);
  const auto index = static_cast<std::size_t>(found - points.begin());
  return std::clamp<std::size_t>(index, 1, points.size() - 1);
}

double between(const Point& a, const Point& b, double x) {
  if (b.seconds <= a.seconds) return b.value;
  return a.value + (b.value - a.value) * (x - a.seconds) / (b.seconds - a.seconds);
}

struct Estimate {
  double value = 0, off = 0;
};

Estimate counter_at(const std::vector<Point>& points, const MeterFacts& facts, double x) {
  const std::size_t next = after(points, x);
  const double value = between(points[next - 1], points[next], x);
  double low = points.front().value;
  for (std::size_t i = next + 1; i-- > 0;)
    if (points[i].seen <= x) {
      low = points[i].value;
      break;
    }
  std::size_t above = next - 1;
  while (above + 1 < points.size() && points[above].seen - points[above].age < x) ++above;
  return {value, std::max(value - low, points[above].value - value) + facts.resolution_joules};
}

Estimate counted(const std::vector<Point>& points, const MeterFacts& facts, double begin, double end) {
  const Estimate first = counter_at(points, facts, begin), last = counter_at(points, facts, end);
  return {last.value - first.value, first.off + last.off};
}

double power_at(const std::vector<Point>& points, double x) {
  const std::size_t next = after(points, x);
  return between(points[next - 1], points[next], x);
}

double edge_off(const std::vector<Point>& points, const MeterFacts& facts, double x) {
  const double half = facts.period_seconds / 2;
  const std::size_t next = after(points, x);
  std::size_t first = next - 1, last = next;
  while (first > 0 && points[first].seconds > x - half) --first;
  while (last + 1 < points.size() && points[last].seconds < x + half) ++last;
  double low = points[first].value, high = low;
  for (std::size_t i = first; i <= last; ++i) {
    low = std::min(low, points[i].value);
    high = std::max(high, points[i].value);
  }
  return (high - low) * (half + (points[next].seconds - points[next - 1].seconds) / 2);
}

Estimate integrated(const std::vector<Point>& points, const MeterFacts& facts, double begin,
                    double end) {
  const double period = facts.period_seconds;
  double joules = 0, variance = 0;
  double at = begin, watts = power_at(points, begin);
  const double first_watts = watts;
  for (std::size_t i = after(points, begin); i < points.size() && at < end; ++i) {
    const bool inside = points[i].seconds < end;
    const double to = inside ? points[i].seconds : end;
    const double then = inside ? points[i].value : power_at(points, end);
    joules += (to - at) * (watts + then) / 2;
    if (inside && at > begin) {
      const double step = points[i].value - points[i - 1].value;
      const double gap = points[i].seconds - points[i - 1].seconds;
      variance += step * step * (gap * gap + period * period) / 12;
    }
    at = to;
    watts = then;
  }
  const double off = edge_off(points, facts, begin) + edge_off(points, facts, end) +
                     period / 2 * std::abs(watts - first_watts) + 2 * std::sqrt(variance) +
                     facts.resolution_watts / 2 * (end - begin);
  return {joules, off};
}

}  // namespace

WindowEnergy energy_between(const std::vector<Reading>& trace, const MeterFacts& facts, double begin,
                            double end) {
  MARU_ASSERT(begin <= end);
  for (std::size_t i = 1; i < trace.size(); ++i) MARU_ASSERT(trace[i - 1].seconds <= trace[i].seconds);
  const std::vector<Point> counter = counter_points(trace, facts), power = power_points(trace, facts);
  if (counter.empty() && power.empty()) not_covered(facts, begin, end, "none");
  const auto covers = [&](const std::vector<Point>& points, double first) {
    return points.size() >= 2 && first <= begin && points.back().seconds - points.back().age / 2 >= end;
  };
  const bool counter_covers = !counter.empty() && covers(counter, counter.front().seen);
  const bool power_covers = !power.empty() && covers(power, power.front().seconds);

  WindowEnergy result{.begin = begin, .end = end};
  if (!counter.empty() ? !counter_covers : !power_covers) {
    const double first = trace.front().seconds, last = trace.back().seconds;
    not_covered(
        facts, begin, end,
        fmt::format("{} new ones from {:.3f} s before its begin to {:.3f} s after its end",
                    counter.empty() ? power.size() : counter.size(), begin - first, last - end));
  }
  const Estimate energy =
      counter.empty() ? integrated(power, facts, begin, end) : counted(counter, facts, begin, end);
  result.joules = energy.value;
  result.uncertainty_joules = energy.off;
  if (!counter.empty() && power_covers)
    result.power_joules = integrated(power, facts, begin, end).value;
  return result;
}

}  // namespace maru::measure
