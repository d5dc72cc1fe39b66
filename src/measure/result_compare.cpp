#include "measure/result_compare.h"

#include <algorithm>
#include <cmath>
#include <nlohmann/json.hpp>

#include "base/error.h"
#include "measure/result_text.h"
#include "measure/statistics.h"
#include "measure/summary.h"

namespace maru::measure {
namespace {

class Differences {
 public:
  template <class T>
  void look(const char* what, const T& before, const T& now) {
    if (before != now) found_.push_back(fmt::format("{}: {} before, {} now", what, before, now));
  }
  void add(std::string text) { found_.push_back(std::move(text)); }
  std::vector<std::string> take() { return std::move(found_); }

 private:
  std::vector<std::string> found_;
};

std::vector<double> per_image(std::vector<double> values, const BenchResult& result) {
  for (double& value : values) value /= static_cast<double>(result.model.batch);
  return values;
}

bool has_interval(const Interval& ratio) {
  return std::isfinite(ratio.low) && std::isfinite(ratio.high);
}

// What the command alone tells.
std::string_view tuned(const BenchResult& result) {
  return (result.command + " ").find(" --tune ") != std::string::npos ? "yes" : "no";
}

std::string_view writes_photo(const BenchResult& result) {
  return (result.command + " ").find(" --write-photo ") != std::string::npos ? "yes" : "no";
}

void warn_of_state(std::string_view name, const BenchResult& result, Differences& differences) {
  if (result.is_unstable()) differences.add(fmt::format("the result of {} is UNSTABLE", name));
  for (const Check& check : result.checks)
    if (check.verdict == Check::Verdict::failed)
      differences.add(
          fmt::format("the result of {} FAILED its check of {}: {}", name, check.name, check.text));
}

}  // namespace

bool ResultComparison::is_slower(double factor) const {
  return !missing.empty() || std::ranges::any_of(ways, [&](const Way& way) {
    return !has_interval(way.seconds) || way.seconds.low > factor;
  });
}

ResultComparison compare_results(const BenchResult& before, const BenchResult& now) {
  Differences differences;
  differences.look("processor", before.machine.cpu, now.machine.cpu);
  differences.look("cores", before.machine.cores, now.machine.cores);
  differences.look("board", before.machine.board, now.machine.board);
  differences.look("GPU", before.machine.gpu, now.machine.gpu);
  differences.look("governor", before.machine.governor, now.machine.governor);
  differences.look("device", before.device, now.device);
  differences.look("device", before.device_description, now.device_description);
  differences.look("model", before.model.name, now.model.name);
  differences.look("weights' crc32", before.model.crc32, now.model.crc32);
  differences.look("precision", before.model.precision, now.model.precision);
  differences.look("batch", before.model.batch, now.model.batch);
  differences.look("photo", before.method.photo, now.method.photo);
  differences.look("threads", before.method.threads, now.method.threads);
  const std::string meter = before.meter ? before.meter->source : "none";
  differences.look("meter", meter, now.meter ? now.meter->source : "none");
  differences.look("maru", before.maru_version, now.maru_version);
  differences.look("driver", before.machine.driver, now.machine.driver);
  differences.look("--tune", tuned(before), tuned(now));
  differences.look("--write-photo", writes_photo(before), writes_photo(now));
  warn_of_state("before", before, differences);
  warn_of_state("now", now, differences);

  ResultComparison comparison;
  for (std::size_t i = 0; i < before.ways.size(); ++i) {
    const std::string& name = before.ways[i].name;
    const auto same = std::ranges::find(now.ways, name, &WayResult::name);
    if (same == now.ways.end()) {
      differences.add(
          fmt::format("{} was measured before alone; whether it became slower is not known", name));
      comparison.missing.push_back(name);
      continue;
    }
    const auto k = static_cast<std::size_t>(same - now.ways.begin());
    const auto a = per_image(block_medians(before, i), before),
               b = per_image(block_medians(now, k), now);
    if (a.empty() || b.empty()) {
      differences.add(fmt::format("{} has no blocks {}; whether it became slower is not known", name,
                                  a.empty() ? "before" : "now"));
      comparison.missing.push_back(name);
      continue;
    }
    ResultComparison::Way way{name, unpaired_ratio_of(b, a), std::nullopt};
    if (!has_interval(way.seconds))
      differences.add(fmt::format("{} has no interval; whether it became slower is not known", name));
    const auto joules_a = block_joules(before, i), joules_b = block_joules(now, k);
    if (!joules_a.empty() && !joules_b.empty()) way.joules = unpaired_ratio_of(joules_b, joules_a);
    comparison.ways.push_back(std::move(way));
  }
  for (const WayResult& way : now.ways)
    if (std::ranges::find(before.ways, way.name, &WayResult::name) == before.ways.end())
      differences.add(fmt::format("{} was measured now alone", way.name));
  if (comparison.ways.empty())
    throw Error("--compare-files", "two results with a way in common", "none",
                "measuring both with the same --compare");
  comparison.warnings = differences.take();
  return comparison;
}

std::string text_of(const ResultComparison& comparison) {
  std::string text = "now / before (95 %): below 1 is less\n";
  for (const ResultComparison::Way& way : comparison.ways)
    text += fmt::format("  {:<10} time {}, energy {}\n", way.name, figure(way.seconds),
                        way.joules ? figure(*way.joules) : "n/a");
  return text;
}

std::string to_json(const ResultComparison& comparison) {
  const auto interval = [](const Interval& it) {
    return nlohmann::ordered_json{{"value", it.value}, {"low", it.low}, {"high", it.high}};
  };
  nlohmann::ordered_json all{{"ways", nlohmann::ordered_json::array()},
                             {"warnings", comparison.warnings}};
  for (const ResultComparison::Way& way : comparison.ways)
    all["ways"].push_back(
        {{"name", way.name},
         {"seconds", interval(way.seconds)},
         {"joules", way.joules ? interval(*way.joules) : nlohmann::ordered_json(nullptr)}});
  return all.dump(1, ' ', false, nlohmann::ordered_json::error_handler_t::replace) + "\n";
}

}  // namespace maru::measure
