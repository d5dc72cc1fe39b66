#include <fmt/format.h>

#include <algorithm>
#include <iterator>
#include <map>
#include <numeric>

#include "measure/facts.h"
#include "measure/figures.h"
#include "measure/html.h"
#include "measure/markup.h"

namespace maru::measure {
namespace {

// "conv outputs=64 ..." -> "conv": what steps are coloured by.
std::string family_of(const ProfiledStep& step) {
  return step.kind == "kernel" ? step.op.substr(0, step.op.find(' ')) : step.kind;
}

// Names of layers are long, and have no spaces: they may be broken where they have signs.
std::string breakable(std::string_view name) {
  std::string result;
  for (std::size_t end = 0; !name.empty(); name.remove_prefix(end)) {
    const std::size_t sign = name.find_first_of("/+_.");
    end = sign == std::string_view::npos ? name.size() : sign + 1;
    result += escaped(name.substr(0, end)) + (end < name.size() ? "<wbr>" : "");
  }
  return result;
}

std::string shortened(const std::string& text, std::size_t most) {
  if (text.size() <= most) return text;
  const std::size_t head = most / 2, tail = most - head - 1;
  return text.substr(0, head) + "…" + text.substr(text.size() - tail);
}

class ProfilePage {
 public:
  explicit ProfilePage(const ProfileResult& result) : result_(result) {
    for (const ProfiledStep& step : result_.steps) families_[family_of(step)] += step.seconds.value;
    for (const auto& [family, seconds] : families_) by_time_.push_back(family);
    std::ranges::sort(by_time_, std::greater{}, [&](const auto& f) { return families_.at(f); });
    order_.resize(result_.steps.size());
    std::iota(order_.begin(), order_.end(), std::size_t{0});
    std::ranges::stable_sort(order_, std::greater{},
                             [&](std::size_t i) { return result_.steps[i].seconds.value; });
  }

  std::string write() {
    head();
    tiles();
    add("<h2>A run, step after step</h2>\n<figure>\n{}{}", timeline(kWide).str(),
        timeline(kNarrow).str());
    add("<figcaption>As wide as the median of each step alone, in the order of the plan. Below, the "
        "whole run as it is.</figcaption>\n</figure>\n");
    add("<h2>Where the time goes</h2>\n<figure>\n{}{}", bars(kWide).str(), bars(kNarrow).str());
    add("<figcaption>{}Medians of {} samples; whiskers are 95 % intervals. The percentage is the share "
        "of all steps.</figcaption>\n</figure>\n",
        shown() < result_.steps.size()
            ? fmt::format("The {} steps that take most, of {}. ", shown(), result_.steps.size())
            : "",
        result_.runs);
    table();
    notes();
    facts();
    return page(fmt::format("maru profile: {} on {}", result_.model.name, result_.device), html_);
  }

 private:
  template <class... Args>
  void add(fmt::format_string<Args...> format, Args&&... args) {
    fmt::format_to(std::back_inserter(html_), format, std::forward<Args>(args)...);
  }

  // The four families that take most have colours of their own, all others share one.
  std::string look_of(const ProfiledStep& step) const {
    const auto found = std::ranges::find(by_time_, family_of(step));
    return way_look(static_cast<std::size_t>(std::min<std::ptrdiff_t>(found - by_time_.begin(), 4)));
  }

  std::size_t shown() const { return std::min<std::size_t>(order_.size(), 24); }

  void head() {
    add("<h1>{}, step by step</h1>\n", escaped(result_.model.name));
    add("<p class=\"sub\">{}. Measured by <code>maru profile</code> {}, {}.</p>\n",
        escaped(result_.device_description.empty() ? result_.device : result_.device_description),
        escaped(result_.maru_version), escaped(result_.when));
  }

  void tile(std::string_view what, std::string_view value) {
    add("<div class=\"tile\"><b>{}</b><span>{}</span></div>\n", escaped(value), escaped(what));
  }

  void tiles() {
    const double sum = result_.sum_seconds();
    const Unit unit = seconds_unit(std::max(sum, result_.run.value));
    add("<div class=\"tiles\">\n");
    tile(fmt::format("a whole run ({})", bounds_of(result_.run, unit)), unit(result_.run.value));
    tile(fmt::format("all {} steps alone, added", result_.steps.size()), unit(sum));
    if (!by_time_.empty() && sum > 0)
      tile(by_time_[0] + ", of all steps", percent_text(families_.at(by_time_[0]) / sum, 0));
    const double flops =
        std::accumulate(result_.steps.begin(), result_.steps.end(), 0.0,
                        [](double all, const ProfiledStep& step) { return all + step.flops; });
    if (flops > 0 && result_.run.value > 0) {
      const double rate = flops / result_.run.value;
      tile("over a whole run", rate_unit(rate, "FLOP/s")(rate, 3));
    }
    const auto joules = result_.sum_joules();
    tile("energy of all steps", joules ? joules_unit(*joules)(*joules, 3) : "n/a");
    add("</div>\n");
  }

  std::string bounds_of(const Interval& interval, const Unit& unit) const {
    if (result_.runs == 1) return "no interval";
    return fmt::format("{} to {}", unit.number(interval.low), unit.number(interval.high));
  }

  std::string tip_of(const ProfiledStep& step) const {
    const Unit unit = seconds_unit(step.seconds.value);
    std::string text = fmt::format("{}: {} ({}), {}", step.name, unit(step.seconds.value),
                                   bounds_of(step.seconds, unit), percent_text(step.share));
    return step.kernel.empty() ? text : text + ", " + step.kernel;
  }

  Svg timeline(double width) const {
    const bool wide = width > 500;
    const double sum = result_.sum_seconds(), longest = std::max(sum, result_.run.value);
    const Unit unit = seconds_unit(longest);
    std::vector<std::string> devices;
    for (const ProfiledStep& step : result_.steps) {
      if (std::ranges::find(devices, step.device) == devices.end()) devices.push_back(step.device);
    }
    const double left = 4, right = width - 8, top = 62, pitch = 58;
    const double bottom = top + pitch * static_cast<double>(devices.size()) + 26;
    Axis axis = axis_over(0, longest / unit.factor, wide ? 10 : 4);
    axis.high = longest / unit.factor;
    const auto x_of = [&](double seconds) {
      return left + (right - left) * axis.place(seconds / unit.factor);
    };
    Svg svg(wide ? "timeline-wide" : "timeline-narrow", width, bottom + 40, "Steps of a run over time",
            fmt::format("{} steps on {} device(s), {} in all; a whole run takes {}.",
                        result_.steps.size(), devices.size(), unit(sum), unit(result_.run.value)),
            wide ? "wide" : "narrow");
    legend(svg, width);
    for (const double tick : axis.ticks()) {
      const double x = x_of(tick * unit.factor);
      svg.line(x, top - 6, x, bottom, "rule");
      svg.text(x, bottom + 16, tick == 0 ? "small soft" : "mid small soft", axis.label(tick));
    }
    svg.text(right, bottom + 32, "end small soft", unit.name);
    for (std::size_t row = 0; row < devices.size(); ++row) {
      const double y = top + pitch * static_cast<double>(row) + 14;
      svg.text(left, y - 4, "small soft", devices[row]);
      double begin = 0;
      for (const ProfiledStep& step : result_.steps) {
        const double end = begin + step.seconds.value;
        if (step.device == devices[row]) {
          const double x = x_of(begin), w = x_of(end) - x;
          svg.rect(x, y, w, 34, "edge " + look_of(step), tip_of(step));
          const auto letters = static_cast<std::size_t>(std::max(0.0, (w - 6) / 6.6));
          if (letters >= 6) svg.text(x + w / 2, y + 21, "mid small on", shortened(step.name, letters));
        }
        begin = end;
      }
    }
    const double y = bottom - 12;
    svg.line(x_of(0), y, x_of(result_.run.value), y, "whisker");
    for (const double end : {0.0, result_.run.value})
      svg.line(x_of(end), y - 5, x_of(end), y + 5, "whisker");
    svg.text(std::max(x_of(result_.run.value / 2), left + 75), y - 5, "mid small",
             fmt::format("a whole run: {}", unit(result_.run.value)));
    return svg;
  }

  void legend(Svg& svg, double width) const {
    double x = 4, y = 18;
    for (std::size_t i = 0; i < std::min<std::size_t>(by_time_.size(), 5); ++i) {
      const bool rest = i == 4 && by_time_.size() > 5;
      const std::string name = rest ? "others" : by_time_[i];
      const double wide = 24 + 7.2 * static_cast<double>(name.size());
      if (x + wide > width) {
        x = 4;
        y += 18;
      }
      svg.rect(x, y - 10, 11, 11, way_look(i));
      svg.text(x + 16, y, "small", name);
      x += wide;
    }
  }

  Svg bars(double width) const {
    const bool wide = width > 500;
    const double pitch = wide ? 24 : 40, top = 30, left = wide ? 300 : 4,
                 right = width - (wide ? 230 : 8);
    const double bottom = top + pitch * static_cast<double>(shown());
    double longest = 0;
    for (const ProfiledStep& step : result_.steps) longest = std::max(longest, step.seconds.high);
    const Unit unit = seconds_unit(longest);
    const Axis axis = axis_over(0, longest / unit.factor, wide ? 5 : 4);
    const auto x_of = [&](double seconds) {
      return left + (right - left) * axis.place(seconds / unit.factor);
    };
    Svg svg(wide ? "steps-wide" : "steps-narrow", width, bottom + 24,
            fmt::format("Time of each step, {}", unit.name),
            "The steps that take most, the longest first; the table below has the numbers.",
            wide ? "wide" : "narrow");
    svg.text(wide ? left : 4, 16, "strong", fmt::format("Time of a step alone, {}", unit.name));
    for (const double tick : axis.ticks()) {
      const double x = x_of(tick * unit.factor);
      svg.line(x, top - 4, x, bottom, tick == 0 ? "axis" : "rule");
      svg.text(x, bottom + 16, tick == axis.high ? "end small soft" : "mid small soft",
               axis.label(tick));
    }
    double y = top;
    for (std::size_t k = 0; k < shown(); ++k) {
      const ProfiledStep& step = result_.steps[order_[k]];
      const double bar = wide ? y + 3 : y + 18, tall = wide ? pitch - 8 : 14;
      svg.rect(left, bar, x_of(step.seconds.value) - left, tall, look_of(step), tip_of(step));
      const double low = x_of(step.seconds.low), high = x_of(step.seconds.high), mid = bar + tall / 2;
      svg.line(low, mid, high, mid, "whisker");
      for (const double end : {low, high}) svg.line(end, mid - 3, end, mid + 3, "whisker");
      std::string text = fmt::format("{}, {}", unit(step.seconds.value, 3), percent_text(step.share));
      if (step.roof_share) text += fmt::format(", {} of roof", percent_text(*step.roof_share, 0));
      svg.text(wide ? left - 8 : 4, wide ? bar + tall - 4 : y + 13, wide ? "end small" : "small",
               shortened(step.name, wide ? 44 : 24));
      svg.text(wide ? right + 8 : right, wide ? bar + tall - 4 : y + 13, wide ? "small" : "end small",
               text);
      y += pitch;
    }
    return svg;
  }

  bool has_joules() const {
    return std::ranges::any_of(result_.steps,
                               [](const ProfiledStep& step) { return step.joules.has_value(); });
  }

  void table() {
    const Unit unit = seconds_unit(result_.steps.empty() ? 0 : result_.steps[order_[0]].seconds.value);
    double most_joules = 0, most_rate = 0;
    for (const ProfiledStep& step : result_.steps) {
      most_joules = std::max(most_joules, step.joules.value_or(0));
      most_rate = std::max(most_rate, step.flops_rate());
    }
    const Unit energy = joules_unit(most_joules), rate = rate_unit(most_rate, "FLOP/s");
    add("<h2>All steps</h2>\n<div class=\"scroll\" tabindex=\"0\" role=\"region\" aria-label=\"All "
        "steps\"><table>\n<caption>In the order of the plan.</caption>\n<thead><tr>"
        "<th scope=\"col\">#</th><th scope=\"col\" class=\"left\">step</th><th scope=\"col\">{}</th>"
        "<th scope=\"col\">share</th><th scope=\"col\">bytes</th><th scope=\"col\">{}</th>"
        "<th scope=\"col\">of roof</th><th scope=\"col\">{}</th></tr></thead>\n<tbody>\n",
        unit.name, rate.name, has_joules() ? energy.name : "energy");
    for (std::size_t i = 0; i < result_.steps.size(); ++i) {
      const ProfiledStep& step = result_.steps[i];
      const std::string how = step.kernel.empty() ? step.kind : step.kernel;
      add("<tr><td>{}</td><th scope=\"row\" class=\"name\"><span class=\"swatch {}\"></span>{}"
          "<small>{}{}</small></th>",
          i, look_of(step), breakable(step.name), escaped(how),
          step.device == result_.device ? "" : " on " + escaped(step.device));
      add("<td><b>{}</b><small>{}</small></td><td>{}</td><td "
          "class=\"whole\">{}</td><td>{}</td><td>{}</td>",
          unit.number(step.seconds.value), bounds_of(step.seconds, unit), percent_text(step.share),
          step.bytes > 0 ? escaped(bytes_text(step.bytes)) : "",
          step.flops > 0 ? rate.number(step.flops_rate(), 3) : "",
          step.roof_share ? percent_text(*step.roof_share, 0) : "");
      add("<td>{}</td></tr>\n",
          step.joules ? fmt::format("{}<small>± {}</small>", energy.number(*step.joules, 3),
                                    energy.number(step.uncertainty_joules.value_or(0), 2))
                      : "n/a");
    }
    add("</tbody>\n</table></div>\n");
  }

  void notes() {
    add("<h2>How to read it</h2>\n<ul>\n");
    for (const std::string& note : result_.notes) add("<li>{}</li>\n", escaped(note));
    if (!result_.roofs.empty()) {
      add("<li>The roof is what the device allows at the step's operations per byte: the lesser of its "
          "arithmetic and of its memory times that number, both measured here. A step can be above it: "
          "where its data stays in caches, and where it has fewer operations than are counted, as "
          "Winograd's convolutions do.</li>\n");
    }
    if (has_joules()) {
      add("<li>Energy is gross, of the step repeated for a window of the meter; ± is what its reading "
          "at the window's edges may be off.</li>\n");
    }
    add("</ul>\n");
  }

  void facts() {
    Facts facts;
    add_model(facts, result_.model);
    facts.emplace_back("input", result_.photo);
    facts.emplace_back("device", result_.device + ": " + result_.device_description);
    facts.emplace_back("memory policy", result_.memory);
    if (result_.threads > 0) facts.emplace_back("threads", std::to_string(result_.threads));
    for (const Roof& roof : result_.roofs) {
      std::string text =
          roof.flops > 0
              ? fmt::format("{} ({})", rate_unit(roof.flops, "FLOP/s")(roof.flops, 3), roof.flops_of)
              : "arithmetic n/a";
      text += roof.bytes > 0
                  ? fmt::format("; {} ({})", rate_unit(roof.bytes, "B/s")(roof.bytes, 3), roof.bytes_of)
                  : "; memory n/a";
      facts.emplace_back("roof of " + roof.device, text);
    }
    add_machine(facts, result_.machine);
    facts.emplace_back("meanwhile", result_.state.load ? fmt::format("others kept {:.2f} cores busy",
                                                                     *result_.state.load)
                                                       : "load by others n/a");
    add_meter(facts, result_.meter, result_.meter_absences);
    facts.emplace_back("samples",
                       fmt::format("{} of each step and of the whole run, in turns", result_.runs));
    facts.emplace_back("command", result_.command);
    facts.emplace_back("maru", result_.maru_version);
    facts.emplace_back("date", result_.when);
    add("<footer><h2>Where this comes from</h2>\n{}</footer>\n", list_of(facts));
  }

  const ProfileResult& result_;
  std::map<std::string, double> families_;
  std::vector<std::string> by_time_;  // families, the one that takes most first
  std::vector<std::size_t> order_;    // steps, the longest first
  std::string html_;
};

}  // namespace

std::string html_of(const ProfileResult& result) { return ProfilePage(result).write(); }

}  // namespace maru::measure
