#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <functional>
#include <iterator>
#include <limits>
#include <optional>
#include <set>

#include "measure/facts.h"
#include "measure/figures.h"
#include "measure/html.h"
#include "measure/markup.h"

namespace maru::measure {
namespace {

using Verdict = Check::Verdict;
using Cell = std::function<std::string(const WayResult&)>;  // markup; empty: n/a

std::string_view word_of(Verdict verdict) {
  return verdict == Verdict::passed ? "passed" : verdict == Verdict::unstable ? "UNSTABLE" : "FAILED";
}

std::string_view look_of(Verdict verdict) {
  return verdict == Verdict::passed ? "passed" : verdict == Verdict::unstable ? "unstable" : "failed";
}

std::string cell_of(const Unit& unit, const Interval& value) {
  if (!std::isfinite(value.low) || !std::isfinite(value.high))
    return fmt::format("<b>{}</b><small>no interval</small>", escaped(unit(value.value)));
  return fmt::format("<b>{}</b><small>{} to {}</small>", escaped(unit(value.value)),
                     unit.number(value.low), unit.number(value.high));
}

// "11 % less time", or that no difference was shown.
std::string verdict_of(const Interval& ratio, std::string_view what) {
  if (ratio.low <= 1 && ratio.high >= 1) {
    return fmt::format("no difference in {} was shown", what);
  }
  const bool less = ratio.value < 1;
  const double from = std::abs(1 - (less ? ratio.high : ratio.low)),
               to = std::abs(1 - (less ? ratio.low : ratio.high));
  const auto percent = [](double share) { return digits_of(100 * share, share < 0.0995 ? 2 : 3); };
  return fmt::format("<b>{} % {}</b> {} ({} to {} %)", percent(std::abs(1 - ratio.value)),
                     less ? "less" : "more", what, percent(from), percent(to));
}

class BenchPage {
 public:
  explicit BenchPage(const BenchResult& result) : result_(result) {}

  std::string write() {
    head();
    warnings();
    summary();
    bars();
    ways();
    ratios();
    series();
    checks();
    facts();
    return page(fmt::format("maru bench: {} on {}", result_.model.name, result_.device), html_);
  }

 private:
  template <class... Args>
  void add(fmt::format_string<Args...> format, Args&&... args) {
    fmt::format_to(std::back_inserter(html_), format, std::forward<Args>(args)...);
  }

  void head() {
    std::string names;
    for (const WayResult& way : result_.ways) names += (names.empty() ? "" : ", ") + way.name;
    add("<h1>{}: {}</h1>\n", escaped(result_.model.name), escaped(names));
    add("<p class=\"sub\">{}. Measured by <code>maru bench</code> {}, {}.</p>\n",
        escaped(result_.device_description.empty() ? result_.device : result_.device_description),
        escaped(result_.maru_version), escaped(result_.when));
  }

  void warnings() {
    for (const Verdict verdict : {Verdict::failed, Verdict::unstable}) {
      std::string reasons;
      for (const Check& check : result_.checks) {
        if (check.verdict == verdict)
          reasons += fmt::format("<br>{}: {}", escaped(check.name), escaped(check.text));
      }
      if (reasons.empty()) continue;
      add("<div class=\"banner {}\" role=\"alert\"><strong>{}</strong>. {}{}</div>\n", look_of(verdict),
          word_of(verdict),
          verdict == Verdict::failed
              ? "Something that must hold did not; do not use these figures."
              : "The machine was not in one state throughout, so that the comparison is not fair.",
          reasons);
    }
  }

  void summary() {
    for (const std::string& note : result_.notes) add("<p class=\"note\">{}</p>\n", escaped(note));
    for (const WayRatio& ratio : result_.ratios) {
      if (ratio.way >= result_.ways.size()) continue;
      std::string text = verdict_of(ratio.seconds, "time");
      text += ratio.joules ? ", " + verdict_of(*ratio.joules, "energy") : "";
      add("<p class=\"lead\"><span class=\"swatch {}\"></span>{} against {}: {}.</p>\n",
          way_look(ratio.way), escaped(result_.ways[ratio.way].name), escaped(result_.ways[0].name),
          text);
    }
  }

  void bars() {
    add("<figure>\n<div class=\"pair\">\n{}{}</div>\n<figcaption>Medians; whiskers are 95 % intervals",
        time_bars(result_).str(), energy_bars(result_).str());
    if (result_.meter) {
      add(". Energy is {}, by {}, gross{}", worth_of(*result_.meter), escaped(result_.meter->name),
          result_.idle_watts ? "; the pale part is what the machine takes when idle" : "");
    }
    if (!result_.ratios.empty())
      add(". × is the ratio to {}, paired by blocks", escaped(result_.ways[0].name));
    add(".</figcaption>\n</figure>\n");
  }

  void row(std::string_view name, const Cell& cell, std::string_view more = {}) {
    std::string cells;
    bool is_there = false;
    for (const WayResult& way : result_.ways) {
      std::string text = cell(way);
      is_there = is_there || !text.empty();
      cells += fmt::format("<td>{}</td>", text.empty() ? "n/a" : text);
    }
    add("<tr><th scope=\"row\">{}{}</th>{}</tr>\n", name,
        more.empty() ? "" : fmt::format("<small>{}</small>", more), cells);
  }

  // One unit for all ways, so that they are compared at a glance.
  template <class Get>
  Unit common(Unit (*unit)(double), const Get& get) const {
    double largest = 0;
    for (const WayResult& way : result_.ways) largest = std::max(largest, get(way));
    return unit(largest);
  }

  void time_row(std::string_view name, double WayResult::*member, const Unit& unit) {
    row(name, [&](const WayResult& way) { return escaped(unit(way.*member)); });
  }

  void interval_row(std::string_view name, std::optional<Interval> WayResult::*member,
                    Unit (*unit_for)(double), std::string_view more = {}) {
    const Unit unit = common(
        unit_for, [&](const WayResult& way) { return (way.*member).value_or(Interval{}).value; });
    row(
        name, [&](const WayResult& way) { return way.*member ? cell_of(unit, *(way.*member)) : ""; },
        more);
  }

  void ways() {
    const std::string of =
        result_.model.batch == 1
            ? "Of one image"
            : fmt::format("Times of a run of {} images, all else of one image", result_.model.batch);
    add("<h2>The ways</h2>\n<div class=\"scroll\"><table>\n"
        "<caption>{}; below a figure its 95 % interval.</caption>\n<thead><tr>"
        "<td></td>",
        of);
    for (std::size_t i = 0; i < result_.ways.size(); ++i) {
      add("<th scope=\"col\"><span class=\"swatch {}\"></span>{}</th>", way_look(i),
          escaped(result_.ways[i].name));
    }
    add("</tr></thead>\n<tbody>\n");
    const Unit unit = common(seconds_unit, [](const WayResult& way) { return way.median.value; });
    row("time, median", [&](const WayResult& way) { return cell_of(unit, way.median); });
    time_row("mean", &WayResult::mean, unit);
    time_row("p90", &WayResult::p90, unit);
    time_row("p99", &WayResult::p99, unit);
    row("least and largest",
        [&](const WayResult& way) { return escaped(unit(way.min)) + "<br>" + escaped(unit(way.max)); });
    interval_row("energy, gross", &WayResult::joules, joules_unit);
    interval_row("energy, net", &WayResult::joules_net, joules_unit, "less what it takes when idle");
    interval_row("cold start", &WayResult::cold_start, seconds_unit, "exec to first label");
    const auto size = [](const std::optional<std::uint64_t>& bytes) {
      return bytes ? escaped(bytes_text(static_cast<double>(*bytes))) : "";
    };
    row("peak memory, host", [&](const WayResult& way) { return size(way.peak_host_bytes); });
    row("peak memory, device", [&](const WayResult& way) { return size(way.peak_device_bytes); });
    row("bytes copied", [](const WayResult& way) { return grouped(way.copied_bytes); });
    row(
        "crossing", [](const WayResult& way) { return grouped(way.crossing_bytes); },
        "between CPU and device");
    stages();
    row("best label", [](const WayResult& way) {
      return way.label.empty()
                 ? ""
                 : fmt::format("{}<small>{}</small>", escaped(way.label), digits_of(way.score, 4));
    });
    add("</tbody>\n</table></div>\n");
  }

  void stages() {
    constexpr std::pair<std::string_view, std::optional<double> Stages::*> kStages[] = {
        {"decode", &Stages::decode},
        {"preprocess", &Stages::preprocess},
        {"copy in", &Stages::copy_in},
        {"infer", &Stages::infer},
        {"copy out", &Stages::copy_out}};
    for (const auto& stage : kStages) {
      const auto member = stage.second;
      const Unit unit =
          common(seconds_unit, [&](const WayResult& way) { return (way.stages.*member).value_or(0); });
      row(fmt::format("stage: {}", stage.first), [&](const WayResult& way) {
        return way.stages.*member ? escaped(unit(*(way.stages.*member), 3)) : "";
      });
    }
  }

  static std::string grouped(std::uint64_t number) {
    std::string text = std::to_string(number);
    for (auto i = static_cast<std::ptrdiff_t>(text.size()) - 3; i > 0; i -= 3)
      text.insert(static_cast<std::size_t>(i), ",");
    return text;
  }

  void ratios() {
    if (result_.ratios.empty()) return;
    add("<h2>Ratios</h2>\n<figure>\n{}{}<figcaption>Each block against the block of {} beside it; "
        "bars are 95 % intervals. One that reaches over 1 shows no difference.</figcaption></figure>\n",
        ratios_figure(result_, kWide).str(), ratios_figure(result_, kNarrow).str(),
        escaped(result_.ways[0].name));
  }

  void series() {
    if (result_.blocks.empty()) return;
    std::size_t taken = 0;
    std::uint64_t runs = 0;
    for (const Block& block : result_.blocks) {
      taken += block.seconds.size();
      runs += block.runs;
    }
    std::string letters;
    for (std::size_t i = 0; i < result_.ways.size(); ++i)
      letters += fmt::format("{}{} {}", i == 0 ? "" : ", ", letter_of(i), result_.ways[i].name);
    add("<h2>Over time</h2>\n<figure>\n{}{}", samples_figure(result_, kWide).str(),
        samples_figure(result_, kNarrow).str());
    add("<figcaption>{} samples of {} runs in {} blocks ({}); of many an even choice is drawn, with "
        "the "
        "extremes of each block. Lines are medians; triangles at the upper edge are runs beyond "
        "it.</figcaption>\n</figure>\n",
        taken, runs, result_.blocks.size(), escaped(letters));
    if (power_of(result_).empty()) return;
    const bool is_told =
        std::ranges::any_of(result_.power, [](const Reading& r) { return r.watts.has_value(); });
    add("<figure>\n{}{}<figcaption>{} {}; shaded is what was measured, by "
        "way.</figcaption>\n</figure>\n",
        power_figure(result_, kWide).str(), power_figure(result_, kNarrow).str(),
        is_told ? "Power as told by" : "Mean power between readings of the energy counter of",
        escaped(result_.meter ? result_.meter->name : "the meter"));
  }

  void checks() {
    if (result_.checks.empty()) return;
    add("<h2>Checks</h2>\n<ul class=\"checks\">\n");
    for (const Check& check : result_.checks) {
      add("<li><span class=\"verdict {}\">{}</span><span>{}: {}</span></li>\n", look_of(check.verdict),
          word_of(check.verdict), escaped(check.name), escaped(check.text));
    }
    add("</ul>\n");
  }

  std::string method() const {
    const BenchResult::Method& method = result_.method;
    std::string text =
        fmt::format("{} block{} of each way, with at least {} image{} in all", method.blocks,
                    method.blocks == 1 ? "" : "s", method.images, method.images == 1 ? "" : "s");
    if (method.block_seconds > 0)
      text += fmt::format("; each block at least {}, for the meter's sake",
                          seconds_unit(method.block_seconds)(method.block_seconds, 3));
    if (!method.order.empty()) text += fmt::format("; order {}", method.order);
    return text + fmt::format(", seed {}; {} run{} to warm up", method.seed, method.warmup,
                              method.warmup == 1 ? "" : "s");
  }

  struct Clocks {
    double low = 1e300, high = 0;
    void add(const std::optional<double>& hertz) {
      if (!hertz) return;
      low = std::min(low, *hertz);
      high = std::max(high, *hertz);
    }
    std::string text(std::string_view whose) const {
      if (high <= 0) return fmt::format("{} clock n/a", whose);
      return fmt::format("{} {:.2f} to {:.2f} GHz", whose, low / 1e9, high / 1e9);
    }
  };

  // From the state after each block.
  std::string states() const {
    Clocks cpu, gpu;
    double celsius = -1e300, load = -1;
    std::set<std::string> throttled;
    for (const Block& block : result_.blocks) {
      cpu.add(block.state.cpu_hz);
      gpu.add(block.state.gpu_hz);
      celsius = std::max(celsius, block.state.celsius.value_or(-1e300));
      load = std::max(load, block.state.load.value_or(-1));
      throttled.insert(block.state.throttled_by.begin(), block.state.throttled_by.end());
    }
    const bool has_gpu = !result_.machine.gpu.empty();
    std::string text = cpu.text("CPU");
    if (has_gpu) text += ", " + gpu.text("GPU");
    text += celsius > -1e300
                ? fmt::format(", {} at most {:.0f} °C", has_gpu ? "GPU" : "hottest zone", celsius)
                : ", temperature n/a";
    text += load < 0 ? ", load by others n/a"
                     : fmt::format(", others kept at most {:.2f} cores busy", load);
    return throttled.empty() ? text
                             : text + fmt::format(", throttled by {}", fmt::join(throttled, ", "));
  }

  // How long the meter's windows are, and what their edges may be off.
  std::string windows() const {
    double shortest = std::numeric_limits<double>::infinity();
    std::optional<double> off;
    for (const Block& block : result_.blocks) {
      if (!block.joules) continue;
      shortest = std::min(shortest, block.end - block.begin);
      if (block.uncertainty_joules && *block.joules > 0)
        off = std::max(off.value_or(0), *block.uncertainty_joules / *block.joules);
    }
    if (!std::isfinite(shortest)) return "";
    std::string text = fmt::format("one a block, of {} at least", seconds_unit(shortest)(shortest, 3));
    if (off) text += fmt::format("; its edges may be off by {} % at most", digits_of(100 * *off, 2));
    return text;
  }

  void facts() {
    Facts facts;
    add_model(facts, result_.model);
    facts.emplace_back("photo", result_.method.photo);
    facts.emplace_back("device", result_.device + ": " + result_.device_description);
    if (result_.method.threads > 0)
      facts.emplace_back("threads", std::to_string(result_.method.threads));
    add_machine(facts, result_.machine);
    if (!result_.blocks.empty()) facts.emplace_back("during the blocks", states());
    add_meter(facts, result_.meter, result_.meter_absences);
    facts.emplace_back("meter's windows", windows());
    if (result_.idle_watts)
      facts.emplace_back("idle", watts_unit(*result_.idle_watts)(*result_.idle_watts, 4));
    facts.emplace_back("method", method());
    facts.emplace_back("command", result_.command);
    facts.emplace_back("maru", result_.maru_version);
    facts.emplace_back("date", result_.when);
    add("<footer><h2>Where this comes from</h2>\n{}</footer>\n", list_of(facts));
  }

  const BenchResult& result_;
  std::string html_;
};

}  // namespace

std::string html_of(const BenchResult& result) { return BenchPage(result).write(); }

}  // namespace maru::measure
