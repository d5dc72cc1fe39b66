#include "measure/result_text.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <utility>

#include "base/text.h"
#include "measure/statistics.h"
#include "measure/summary.h"

namespace maru::measure {
namespace {

constexpr double kMilli = 1e3;
constexpr double kJoulesOfMilliwattHour = 3.6;
constexpr const char* kUnknown = "n/a";

using Rows = std::vector<std::vector<std::string>>;

std::size_t width(std::string_view text) {  // characters of UTF-8
  return static_cast<std::size_t>(std::ranges::count_if(
      text, [](char c) { return (static_cast<unsigned char>(c) & 0xC0) != 0x80; }));
}

// The first column to the left, the others to the right.
std::string plain_table(const Rows& rows) {
  std::vector<std::size_t> widths;
  for (const auto& row : rows) {
    widths.resize(std::max(widths.size(), row.size()));
    for (std::size_t i = 0; i < row.size(); ++i) widths[i] = std::max(widths[i], width(row[i]));
  }
  std::string text;
  for (const auto& row : rows) {
    std::string line;
    for (std::size_t i = 0; i < row.size(); ++i) {
      const std::string padding(widths[i] - width(row[i]), ' ');
      line += i == 0 ? row[i] + padding : "  " + padding + row[i];
    }
    line.erase(line.find_last_not_of(' ') + 1);
    text += "  " + line + "\n";
  }
  return text;
}

std::string cell(std::string text) {
  for (std::size_t at = 0; (at = text.find('|', at)) != std::string::npos; at += 2)
    text.insert(at, "\\");
  return text;
}

std::string markdown_table(const Rows& rows) {
  std::string text;
  for (std::size_t i = 0; i < rows.size(); ++i) {
    text += "|";
    for (const std::string& one : rows[i]) text += " " + cell(one) + " |";
    text += "\n";
    if (i > 0) continue;
    text += "|---|";
    for (std::size_t k = 1; k < rows[i].size(); ++k) text += "---:|";
    text += "\n";
  }
  return text;
}

std::string grouped(std::uint64_t number) {
  std::string digits = std::to_string(number);
  for (auto at = static_cast<std::ptrdiff_t>(digits.size()) - 3; at > 0; at -= 3)
    digits.insert(static_cast<std::size_t>(at), ",");
  return digits;
}

std::string megahertz(const BenchResult& result, std::optional<double> MachineState::*clock) {
  std::vector<double> hertz;
  for (const Block& block : result.blocks)
    if (block.state.*clock) hertz.push_back(*(block.state.*clock));
  if (hertz.empty()) return kUnknown;
  const auto [least, most] = std::ranges::minmax(hertz);
  const auto mhz = [](double value) { return fmt::format("{:.0f}", value * 1e-6); };
  return mhz(least) == mhz(most) ? mhz(least) + " MHz"
                                 : fmt::format("{} to {} MHz", mhz(least), mhz(most));
}

std::string state_text(const BenchResult& result) {
  std::vector<double> celsius;
  std::vector<std::string> throttled;
  for (const Block& block : result.blocks) {
    if (block.state.celsius) celsius.push_back(*block.state.celsius);
    for (const std::string& by : block.state.throttled_by)
      if (std::ranges::find(throttled, by) == throttled.end()) throttled.push_back(by);
  }
  std::string text = "CPU at " + megahertz(result, &MachineState::cpu_hz);
  if (!result.machine.gpu.empty()) text += ", GPU at " + megahertz(result, &MachineState::gpu_hz);
  text += ", governor " + (result.machine.governor.empty() ? kUnknown : result.machine.governor);
  text += ", temperature ";
  text +=
      celsius.empty() ? kUnknown : fmt::format("up to {:.0f} C", *std::ranges::max_element(celsius));
  const auto tells = [](const Block& block) {
    return block.state.tells_throttling || block.state.gpu_tells_throttling;
  };
  if (!throttled.empty())
    text += fmt::format(", throttled by {}", fmt::join(throttled, ", "));
  else
    text += std::ranges::any_of(result.blocks, tells) ? ", no throttling seen" : ", throttling n/a";
  return text;
}

std::string letters(const BenchResult& result) {
  std::string text;
  for (std::size_t i = 0; i < result.ways.size(); ++i)
    text += fmt::format("{}{} {}", i == 0 ? "" : ", ", static_cast<char>('A' + i), result.ways[i].name);
  return text;
}

std::string meter_text(const BenchResult& result) {
  const MeterFacts& meter = *result.meter;
  std::string text = fmt::format("{}: {}; boundary {}, {}", meter.name, meter.source,
                                 to_string(meter.boundary), to_string(meter.grade));
  if (meter.period_seconds > 0)
    text += fmt::format(", new every {} ms", figure(meter.period_seconds * kMilli));
  if (meter.resolution_joules > 0)
    text += fmt::format(", in steps of {} mJ", figure(meter.resolution_joules * kMilli));
  if (meter.resolution_watts > 0)
    text += fmt::format(", in steps of {} mW", figure(meter.resolution_watts * kMilli));
  if (!meter.blind.empty()) text += "; does not see " + meter.blind;
  return text;
}

std::string window_text(const BenchResult& result) {
  double shortest = 0;
  std::optional<double> off;
  for (const Block& block : result.blocks) {
    const double seconds = block.end - block.begin;
    shortest = shortest == 0 ? seconds : std::min(shortest, seconds);
    if (block.joules && block.uncertainty_joules && *block.joules > 0)
      off = std::max(off.value_or(0), *block.uncertainty_joules / *block.joules);
  }
  std::string text = fmt::format("a window a block, of {} s at least", figure(shortest));
  if (off) text += fmt::format("; its edges may be off by {} % at most", figure(*off * 100));
  if (result.idle_watts) text += fmt::format("; idle takes {} W", figure(*result.idle_watts));
  return text;
}

std::string shape_text(const std::vector<std::int64_t>& shape) {
  return fmt::format("{}", fmt::join(shape, "x"));
}

Rows about(const BenchResult& result) {
  const MachineFacts& machine = result.machine;
  Rows rows;
  std::string line =
      fmt::format("{}, {} core{}", machine.cpu, machine.cores, machine.cores == 1 ? "" : "s");
  if (machine.memory_bytes > 0) line += ", " + human_bytes(static_cast<double>(machine.memory_bytes));
  if (!machine.gpu.empty()) line += fmt::format("; {}, driver {}", machine.gpu, machine.driver);
  if (!machine.board.empty()) line += "; " + machine.board;
  rows.push_back({"machine", line});
  if (!machine.system.empty()) rows.push_back({"", machine.system});
  rows.push_back({"", state_text(result)});
  rows.push_back({"device", fmt::format("{}: {}", result.device, result.device_description)});
  const BenchResult::Model& model = result.model;
  rows.push_back({"model", fmt::format("{} ({}), input {}, {}, batch {}", model.name, model.path,
                                       shape_text(model.input), model.precision, model.batch)});
  if (!model.crc32.empty())
    rows.push_back(
        {"", fmt::format("weights {}, crc32 {}", human_bytes(static_cast<double>(model.weights_bytes)),
                         model.crc32)});
  const BenchResult::Method& method = result.method;
  rows.push_back({"photo", method.photo});
  rows.push_back({"method", fmt::format("{} blocks of each way in the order {} ({})", method.blocks,
                                        method.order, letters(result))});
  line = fmt::format("at least {} runs of each way; {} before, to warm up; {} thread{}; seed {}",
                     method.images, method.warmup, method.threads, method.threads == 1 ? "" : "s",
                     method.seed);
  if (method.block_seconds > 0)
    line +=
        fmt::format("; blocks of at least {} s, for the meter's sake", figure(method.block_seconds));
  rows.push_back({"", line});
  rows.push_back(
      {"", "a run: from the photo's pixels in memory of the CPU to the best label and its score"});
  if (result.meter) {
    rows.push_back({"meter", meter_text(result)});
    rows.push_back({"", window_text(result)});
  } else {
    rows.push_back({"meter", "none: energy is n/a"});
    for (const MeterAbsence& absence : result.meter_absences)
      rows.push_back({"", fmt::format("{}: {}{}{}", absence.name, absence.why,
                                      absence.remedy.empty() ? "" : "; try ", absence.remedy)});
  }
  for (const std::string& note : result.notes) rows.push_back({"note", note});
  return rows;
}

template <class T>
std::string known(const std::optional<T>& value, double scale = 1) {
  return value ? figure(*value, scale) : kUnknown;
}
template <>
std::string known(const std::optional<double>& value, double scale) {
  return value ? figure(*value * scale) : kUnknown;
}
std::string known_bytes(const std::optional<std::uint64_t>& value) {
  return value ? human_bytes(static_cast<double>(*value)) : kUnknown;
}

Rows of_ways(const BenchResult& result) {
  Rows rows{{""}};
  for (const WayResult& way : result.ways) rows[0].push_back(way.name);
  const auto row = [&](const char* title, auto&& of) {
    rows.push_back({title});
    for (const WayResult& way : result.ways) rows.back().push_back(of(way));
  };
  const auto ms = [&](const char* title, double WayResult::*field) {
    row(title, [&](const WayResult& way) { return figure(way.*field * kMilli); });
  };
  row("median, ms a run (95 %)", [](const WayResult& way) { return figure(way.median, kMilli); });
  ms("mean", &WayResult::mean);
  ms("p90", &WayResult::p90);
  ms("p99", &WayResult::p99);
  ms("min", &WayResult::min);
  ms("max", &WayResult::max);
  row("energy, mJ an image, gross (95 %)",
      [](const WayResult& way) { return known(way.joules, kMilli); });
  row("energy, mJ an image, net of idle",
      [](const WayResult& way) { return known(way.joules_net, kMilli); });
  row("cold start, ms (95 %)", [](const WayResult& way) { return known(way.cold_start, kMilli); });
  row("peak memory, host", [](const WayResult& way) { return known_bytes(way.peak_host_bytes); });
  row("peak memory, device", [](const WayResult& way) { return known_bytes(way.peak_device_bytes); });
  row("bytes copied an image", [](const WayResult& way) { return grouped(way.copied_bytes); });
  row("  between memories", [](const WayResult& way) { return grouped(way.crossing_bytes); });
  const auto stage = [&](const char* title, std::optional<double> Stages::*field) {
    row(title, [&](const WayResult& way) { return known(way.stages.*field, kMilli); });
  };
  stage("stages, ms an image: decode", &Stages::decode);
  stage("  copy in", &Stages::copy_in);
  stage("  preprocess", &Stages::preprocess);
  stage("  infer (the rest)", &Stages::infer);
  stage("  copy out", &Stages::copy_out);
  row("answer", [](const WayResult& way) { return fmt::format("{} {:.4f}", way.label, way.score); });
  return rows;
}

Rows of_ratios(const BenchResult& result) {
  Rows rows{{"ratio (95 %)", "time", "energy"}};
  for (const WayRatio& ratio : result.ratios)
    rows.push_back({fmt::format("{} / {}", result.ways[ratio.way].name, result.ways[0].name),
                    figure(ratio.seconds), known(ratio.joules)});
  return rows;
}

std::string verdict_text(Check::Verdict verdict) {
  switch (verdict) {
    case Check::Verdict::passed:
      return "passed";
    case Check::Verdict::unstable:
      return "UNSTABLE";
    case Check::Verdict::failed:
      return "FAILED";
  }
  return {};
}

std::string width_note(const BenchResult& result) {
  std::string text;
  if (result.method.blocks % 2 != 0 && result.ways.size() > 1)
    text =
        "An odd number of blocks: the last round has no reverse, and a drift is in the ratio by it.\n";
  if (result.method.blocks >= kEnoughBlocks) return text;
  return text +
         fmt::format(
             "Intervals of fewer than {} blocks hold the truth less often than 95 times of 100.\n",
             kEnoughBlocks);
}

std::string saved(double before, double now) {
  return fmt::format("{:.1f} %", 100 * (1 - now / before));
}

// Paired bars, as the figure of 2016 has them; the longest is 40 characters.
std::string bars(const char* unit, const std::vector<std::pair<std::string, double>>& of) {
  constexpr double kLongest = 40;
  double most = 0;
  for (const auto& [name, value] : of) most = std::max(most, value);
  Rows rows;
  std::string text;
  for (const auto& [name, value] : of) {
    const auto length = static_cast<std::size_t>(std::lround(kLongest * value / most));
    text += fmt::format("  {:<28} {:#<{}} {} {}\n", name, "", std::max<std::size_t>(1, length),
                        figure(value), unit);
  }
  return text;
}

std::string csv_cell(const std::string& text) {
  if (text.find_first_of(",\"\n") == std::string::npos) return text;
  std::string quoted = "\"";
  for (const char c : text) quoted += c == '"' ? std::string("\"\"") : std::string(1, c);
  return quoted + "\"";
}

}  // namespace

std::string figure(double value) {
  if (!std::isfinite(value)) return kUnknown;
  if (value == 0) return "0";
  const int magnitude = static_cast<int>(std::floor(std::log10(std::abs(value))));
  return fmt::format("{:.{}f}", value, std::clamp(3 - magnitude, 0, 9));
}

std::string figure(const Interval& interval, double scale) {
  std::string value = figure(interval.value * scale);
  if (!std::isfinite(interval.high)) return value;
  return fmt::format("{} ({} to {})", value, figure(interval.low * scale),
                     figure(interval.high * scale));
}

std::string text_of(const BenchResult& result) {
  std::string text = fmt::format("maru {} bench, {}\n\n", result.maru_version, result.when);
  for (const auto& row : about(result)) text += fmt::format("{:<8} {}\n", row[0], row[1]);
  text += "\n" + plain_table(of_ways(result));
  if (!result.ratios.empty())
    text += "\n" + plain_table(of_ratios(result)) + "  below 1: less than " + result.ways[0].name +
            " needs\n";
  text += width_note(result);
  text += "\nchecks\n";
  for (const Check& check : result.checks)
    text += fmt::format("  {:<8} {}: {}\n", check.name, verdict_text(check.verdict), check.text);
  if (result.is_unstable())
    text +=
        "\nUNSTABLE: the ways did not meet the same machine. Measure again before you believe the "
        "ratio.\n";
  return text;
}

std::string markdown_of(const BenchResult& result) {
  std::string text =
      fmt::format("### {} on {}: {}\n\n", result.model.name, result.device, letters(result));
  for (const auto& row : about(result))
    text += fmt::format("{}{}{}  \n", row[0].empty() ? "" : "**" + row[0] + "** ", "", row[1]);
  text += "\n" + markdown_table(of_ways(result));
  if (!result.ratios.empty()) text += "\n" + markdown_table(of_ratios(result));
  text += "\n" + width_note(result);
  for (const Check& check : result.checks)
    text += fmt::format("- {}: {}: {}\n", check.name, verdict_text(check.verdict), check.text);
  return text + fmt::format("\nmaru {}, {}: `{}`\n", result.maru_version, result.when, result.command);
}

std::string csv_of(const BenchResult& result) {
  std::string text =
      "block,way,run,seconds,block_begin,block_end,block_runs,block_joules,cpu_hz,gpu_hz,celsius,"
      "throttled_by,others_load\n";
  const auto number = [](const std::optional<double>& value) {
    return value ? fmt::format("{}", *value) : "";
  };
  for (std::size_t i = 0; i < result.blocks.size(); ++i) {
    const Block& block = result.blocks[i];
    const MachineState& state = block.state;
    const std::string tail = fmt::format(
        "{},{},{},{},{},{},{},{},{}\n", block.begin, block.end, block.runs, number(block.joules),
        number(state.cpu_hz), number(state.gpu_hz), number(state.celsius),
        csv_cell(fmt::format("{}", fmt::join(state.throttled_by, " "))), number(state.load));
    for (std::size_t run = 0; run < block.seconds.size(); ++run)
      text += fmt::format("{},{},{},{},{}", i, csv_cell(result.ways[block.way].name), run,
                          block.seconds[run], tail);
  }
  return text;
}

std::string paper_of(const BenchResult& result) {
  const auto find = [&](std::string_view name, std::size_t otherwise) {
    const auto found = std::ranges::find(result.ways, name, &WayResult::name);
    return found == result.ways.end() ? otherwise
                                      : static_cast<std::size_t>(found - result.ways.begin());
  };
  if (result.ways.size() < 2)
    return "The experiment compares two ways; here is only " + result.ways[0].name + ".\n";
  const std::size_t first = find("copy", 0);
  std::size_t second = find("zero-copy", first);
  if (second == first) second = first == 0 ? 1 : 0;
  const WayResult &copy = result.ways[first], &zero = result.ways[second];
  std::uint64_t runs = 0;
  for (const Block& block : result.blocks)
    if (&result.ways[block.way] == &copy) runs += block.runs;
  const auto batch = static_cast<double>(result.model.batch);
  const double ms_copy = copy.mean / batch * kMilli, ms_zero = zero.mean / batch * kMilli;
  const auto mwh = [](const WayResult& way) -> std::optional<double> {
    if (!way.joules) return std::nullopt;
    return way.joules->value / kJoulesOfMilliwattHour;
  };
  const std::optional<double> mwh_copy = mwh(copy), mwh_zero = mwh(zero);
  const bool has_energy = mwh_copy && mwh_zero;
  std::string text =
      fmt::format("{} on {}, mean of {} runs\n\n", result.model.name, result.device, runs);
  text += plain_table({{"", copy.name, zero.name, "saved"},
                       {"time, ms an image", figure(ms_copy), figure(ms_zero), saved(ms_copy, ms_zero)},
                       {"energy, mWh an image", known(mwh_copy), known(mwh_zero),
                        has_energy ? saved(*mwh_copy, *mwh_zero) : kUnknown}});
  const auto before = block_medians(result, first), now = block_medians(result, second);
  if (!now.empty() && now.size() == before.size()) {
    const Interval ratio = ratio_of(now, before);
    text += fmt::format("\n{} / {}, time: {}{}\n", zero.name, copy.name, figure(ratio),
                        ratio.low <= 1 && ratio.high >= 1 ? ": no difference shown" : "");
  }
  if (result.is_unstable()) text += "UNSTABLE: the ways did not meet the same machine.\n";
  text += "\npublished in 2016: GoogLeNet on a Jetson TK1, mean of 100 runs\n\n";
  text += plain_table({{"", "copy", "zero-copy", "saved"},
                       {"time, ms an image", "460", "410", saved(0.46, 0.41)},
                       {"energy, mWh an image (wall)", "0.58", "0.37", saved(0.58, 0.37)}});
  text += "\ntime\n" + bars("ms", {{copy.name, ms_copy}, {zero.name, ms_zero}});
  if (has_energy) text += "energy\n" + bars("mWh", {{copy.name, *mwh_copy}, {zero.name, *mwh_zero}});
  text += "published, time\n" + bars("ms", {{"copy", 460}, {"zero-copy", 410}});
  text += "published, energy\n" + bars("mWh", {{"copy", 0.58}, {"zero-copy", 0.37}});
  if (!result.meter)
    text += "Energy is n/a: there is no meter.\n";
  else if (has_energy)
    text += fmt::format(
        "Energy here is gross, at the boundary {} ({}){}; the experiment's meter was at the wall.\n",
        to_string(result.meter->boundary), to_string(result.meter->grade),
        result.meter->blind.empty() ? "" : ", and does not see " + result.meter->blind);
  return text;
}

}  // namespace maru::measure
