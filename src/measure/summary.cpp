#include "measure/summary.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <optional>
#include <string>

#include "measure/statistics.h"

namespace maru::measure {
namespace {

double images_of(const BenchResult& result, const Block& block) {
  return static_cast<double>(block.runs) * static_cast<double>(result.model.batch);
}

void summarise_times(const BenchResult& result, std::size_t index, WayResult& way) {
  std::vector<std::vector<double>> blocks;
  std::vector<double> all;
  double sum = 0;
  std::uint64_t runs = 0;
  for (const Block& block : result.blocks) {
    if (block.way != index) continue;
    way.min = runs == 0 ? block.min : std::min(way.min, block.min);
    way.max = std::max(way.max, block.max);
    sum += block.sum;
    runs += block.runs;
    blocks.push_back(block.seconds);
    all.insert(all.end(), block.seconds.begin(), block.seconds.end());
  }
  if (blocks.empty()) return;
  way.median = median_of(blocks);
  way.mean = sum / static_cast<double>(runs);
  way.p90 = percentile(all, 0.9);
  way.p99 = percentile(all, 0.99);
}

void summarise_energy(const BenchResult& result, std::size_t index, WayResult& way) {
  const std::vector<double> gross = block_joules(result, index);
  if (gross.empty()) return;
  way.joules = mean_of(gross);
  if (!result.idle_watts) return;
  std::vector<double> net;
  for (const Block& block : result.blocks) {
    if (block.way != index) continue;
    const double idle = *result.idle_watts * (block.end - block.begin);
    net.push_back((*block.joules - idle) / images_of(result, block));
  }
  way.joules_net = mean_of(net);
}

std::string percent(double share) { return fmt::format("{:.1f} %", 100 * share); }

class Drift {
 public:
  explicit Drift(const BenchResult& result) : result_(result) {
    look_for_throttling();
    look_at_clocks(&MachineState::cpu_hz, "CPU");
    if (is_on_gpu()) look_at_clocks(&MachineState::gpu_hz, "GPU");
    look_at_load();
    look_at_slope();
  }

  Check check() const {
    const bool is_fine = reasons_.empty();
    std::string text = fmt::format("{}", fmt::join(is_fine ? seen_ : reasons_, "; "));
    if (!untold_.empty())
      text += fmt::format("{}not told: {}", text.empty() ? "" : "; ", fmt::join(untold_, ", "));
    return {"drift", is_fine ? Check::Verdict::passed : Check::Verdict::unstable, text};
  }

 private:
  bool is_on_gpu() const { return !result_.device.starts_with("cpu"); }

  bool all(bool MachineState::*fact) const {
    return std::ranges::all_of(result_.blocks, [&](const Block& b) { return b.state.*fact; });
  }

  void note_throttling(const char* whose, bool is_told) {
    if (is_told)
      seen_.push_back(fmt::format("no throttling of the {} seen", whose));
    else
      untold_.push_back(fmt::format("throttling of the {}", whose));
  }

  void look_for_throttling() {
    std::size_t blocks = 0;
    std::vector<std::string> by;
    for (const Block& block : result_.blocks) {
      blocks += !block.state.throttled_by.empty();
      for (const std::string& reason : block.state.throttled_by)
        if (std::ranges::find(by, reason) == by.end()) by.push_back(reason);
    }
    if (blocks > 0)
      reasons_.push_back(fmt::format("throttled ({}) at {} of {} blocks", fmt::join(by, ", "), blocks,
                                     result_.blocks.size()));
    note_throttling("CPU", all(&MachineState::tells_throttling));
    if (is_on_gpu()) note_throttling("GPU", all(&MachineState::gpu_tells_throttling));
  }

  void look_at_clocks(std::optional<double> MachineState::*clock, const char* whose) {
    constexpr double kApart = 1.05;
    std::vector<double> medians;
    for (std::size_t way = 0; way < result_.ways.size(); ++way) {
      std::vector<double> clocks;
      for (const Block& block : result_.blocks)
        if (block.way == way && block.state.*clock) clocks.push_back(*(block.state.*clock));
      if (!clocks.empty()) medians.push_back(median(clocks));
    }
    if (medians.size() < result_.ways.size()) untold_.push_back(fmt::format("the {}'s clock", whose));
    if (medians.size() < 2) return;
    const auto [least, most] = std::ranges::minmax(medians);
    if (most > kApart * least)
      reasons_.push_back(
          fmt::format("the {}'s clock was {:.0f} MHz after one way's blocks and {:.0f} MHz "
                      "after another's",
                      whose, least * 1e-6, most * 1e-6));
    else if (medians.size() == result_.ways.size())
      seen_.push_back(fmt::format("the {}'s clocks of the ways within 5 %", whose));
  }

  void look_at_load() {
    constexpr double kShare = 0.1;
    std::vector<double> loads;
    for (const Block& block : result_.blocks)
      if (block.state.load) loads.push_back(*block.state.load);
    const int cores = result_.machine.cores;
    if (cores < 1 || loads.empty()) {
      untold_.emplace_back("the load by other programs (blocks of less than 0.1 s do not show it)");
      return;
    }
    const bool is_much = mean(loads) > kShare * cores;
    (is_much ? reasons_ : seen_)
        .push_back(fmt::format("other programs kept {:.1f} of {} cores busy", mean(loads), cores));
  }

  void look_at_slope() {
    if (!has_slope()) untold_.emplace_back("a slope (too few blocks)");
  }

  // Whether it could be looked at. Least squares of the blocks' medians, each relative to its way's,
  // over time.
  bool has_slope() {
    constexpr double kShare = 0.02, kChance = 0.995;
    std::vector<double> at, value;
    for (std::size_t way = 0; way < result_.ways.size(); ++way) {
      const std::vector<double> medians = block_medians(result_, way);
      if (medians.size() < 2) return false;
      const double middle = median(medians);
      std::size_t index = 0;
      for (const Block& block : result_.blocks) {
        if (block.way != way) continue;
        at.push_back((block.begin + block.end) / 2);
        value.push_back(medians[index++] / middle);
      }
    }
    const std::size_t parameters = 1 + result_.ways.size();  // the slope, and each way's level
    if (at.size() < parameters + 2) return false;
    const double middle_at = mean(at), middle = mean(value);
    double xx = 0, xy = 0, yy = 0;
    for (std::size_t i = 0; i < at.size(); ++i) {
      const double x = at[i] - middle_at, y = value[i] - middle;
      xx += x * x;
      xy += x * y;
      yy += y * y;
    }
    const auto [first, last] = std::ranges::minmax(at);
    if (xx <= 0) return false;
    const double slope = xy / xx, rise = slope * (last - first);
    const std::size_t freedom = at.size() - parameters;
    const double left = std::max(0.0, yy - slope * xy) / static_cast<double>(freedom);
    const bool is_chance = std::abs(slope) <= student_quantile(kChance, freedom) * std::sqrt(left / xx);
    if (std::abs(rise) <= kShare || is_chance)
      seen_.emplace_back("no slope over the blocks");
    else
      reasons_.push_back(fmt::format("runs became {} by {} from the first to the last block",
                                     rise > 0 ? "slower" : "faster", percent(std::abs(rise))));
    return true;
  }

  const BenchResult& result_;
  std::vector<std::string> reasons_, seen_, untold_;
};

}  // namespace

std::vector<double> block_medians(const BenchResult& result, std::size_t way) {
  std::vector<double> medians;
  for (const Block& block : result.blocks)
    if (block.way == way && !block.seconds.empty()) medians.push_back(median(block.seconds));
  return medians;
}

std::vector<double> block_joules(const BenchResult& result, std::size_t way) {
  std::vector<double> joules;
  for (const Block& block : result.blocks) {
    if (block.way != way) continue;
    if (!block.joules) return {};
    joules.push_back(*block.joules / images_of(result, block));
  }
  return joules;
}

void summarise(BenchResult& result) {
  for (std::size_t i = 0; i < result.ways.size(); ++i) {
    summarise_times(result, i, result.ways[i]);
    summarise_energy(result, i, result.ways[i]);
  }
  result.ratios.clear();
  if (result.ways.empty()) return;
  const std::vector<double> first = block_medians(result, 0), first_joules = block_joules(result, 0);
  for (std::size_t i = 1; i < result.ways.size(); ++i) {
    const std::vector<double> own = block_medians(result, i), own_joules = block_joules(result, i);
    if (own.empty() || own.size() != first.size()) continue;
    WayRatio ratio{i, ratio_of(own, first), std::nullopt};
    if (!own_joules.empty() && own_joules.size() == first_joules.size())
      ratio.joules = ratio_of(own_joules, first_joules);
    result.ratios.push_back(ratio);
  }
}

Check drift_check(const BenchResult& result) { return Drift(result).check(); }

}  // namespace maru::measure
