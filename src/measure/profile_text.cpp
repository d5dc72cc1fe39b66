#include "measure/profile_text.h"

#include <fmt/format.h>

#include <algorithm>
#include <numeric>
#include <vector>

#include "measure/facts.h"
#include "measure/figures.h"
#include "measure/markup.h"

namespace maru::measure {
namespace {

using Rows = std::vector<std::vector<std::string>>;

// Letters that are seen: names may be UTF-8.
std::size_t columns_of(const std::string& text) {
  return static_cast<std::size_t>(std::ranges::count_if(
      text, [](char c) { return (static_cast<unsigned char>(c) & 0xC0) != 0x80; }));
}

std::string table(std::string_view align, const Rows& rows) {
  std::vector<std::size_t> widths(align.size(), 0);
  for (const auto& row : rows) {
    for (std::size_t i = 0; i < row.size(); ++i) widths[i] = std::max(widths[i], columns_of(row[i]));
  }
  std::string text;
  for (const auto& row : rows) {
    std::string line;
    for (std::size_t i = 0; i < row.size(); ++i) {
      const std::string pad(widths[i] - columns_of(row[i]), ' ');
      line += (i == 0 ? "" : "  ") + (align[i] == '<' ? row[i] + pad : pad + row[i]);
    }
    line.erase(line.find_last_not_of(' ') + 1);
    text += line + '\n';
  }
  return text;
}

std::vector<std::size_t> chosen(const ProfileResult& result, std::size_t top) {
  std::vector<std::size_t> order(result.steps.size());
  std::iota(order.begin(), order.end(), std::size_t{0});
  if (top == 0) return order;
  std::ranges::stable_sort(order, std::greater{},
                           [&](std::size_t i) { return result.steps[i].seconds.value; });
  order.resize(std::min(order.size(), top));
  return order;
}

}  // namespace

std::string text_of(const ProfileResult& result, std::size_t top) {
  double longest = 0, rate = 0, joules = 0;
  for (const ProfiledStep& step : result.steps) {
    longest = std::max(longest, step.seconds.value);
    rate = std::max(rate, step.flops_rate());
    joules = std::max(joules, step.joules.value_or(0));
  }
  const Unit seconds = seconds_unit(longest), energy = joules_unit(joules),
             flops = rate_unit(rate, "FLOP/s");
  const Unit whole = seconds_unit(std::max(result.run.value, result.sum_seconds()));
  std::string text = fmt::format(
      "{} on {}, {}, batch {}, memory {}: {} samples of each step\n{}\n"
      "a whole run {} ({}); all {} steps alone, added, {}\n\n",
      result.model.name, result.device, result.model.precision, result.model.batch, result.memory,
      result.runs, result.device_description, whole(result.run.value),
      result.runs == 1
          ? std::string("no interval")
          : fmt::format("95 %: {} to {}", whole.number(result.run.low), whole.number(result.run.high)),
      result.steps.size(), whole(result.sum_seconds()));
  Rows rows{{"#", "step", "kernel", seconds.name, "95 %", "share", "bytes", flops.name, "of roof"}};
  if (result.meter) rows[0].insert(rows[0].end(), {energy.name, "±"});
  for (const std::size_t i : chosen(result, top)) {
    const ProfiledStep& step = result.steps[i];
    rows.push_back({std::to_string(i), step.name, step.kernel.empty() ? step.kind : step.kernel,
                    seconds.number(step.seconds.value),
                    result.runs == 1 ? "-"
                                     : fmt::format("{} to {}", seconds.number(step.seconds.low, 3),
                                                   seconds.number(step.seconds.high, 3)),
                    percent_text(step.share), step.bytes > 0 ? bytes_text(step.bytes) : "-",
                    step.flops > 0 ? flops.number(step.flops_rate(), 3) : "-",
                    step.roof_share ? percent_text(*step.roof_share, 0) : "-"});
    if (!result.meter) continue;
    rows.back().push_back(step.joules ? energy.number(*step.joules, 3) : "n/a");
    rows.back().push_back(step.uncertainty_joules ? energy.number(*step.uncertainty_joules, 2) : "");
  }
  text += table("><<>>>>>>>>", rows) + '\n';
  for (const Roof& roof : result.roofs) {
    text += fmt::format("roof of {}: ", roof.device);
    text += roof.flops > 0
                ? fmt::format("{} ({})", rate_unit(roof.flops, "FLOP/s")(roof.flops, 3), roof.flops_of)
                : "arithmetic n/a";
    text += roof.bytes > 0
                ? fmt::format(", {} ({})\n", rate_unit(roof.bytes, "B/s")(roof.bytes, 3), roof.bytes_of)
                : ", memory n/a\n";
  }
  if (result.meter) {
    const auto sum = result.sum_joules();
    text += fmt::format("energy, gross: {}; {}, by {}\n",
                        sum ? joules_unit(*sum)(*sum, 3) + " for all steps" : "not of all steps",
                        worth_of(*result.meter), result.meter->source);
  } else {
    text += "energy: n/a\n";
    for (const std::string& why : why_no_energy(result.meter_absences)) text += "  " + why + '\n';
  }
  for (const std::string& note : result.notes) text += "note: " + note + '\n';
  return text;
}

}  // namespace maru::measure
