#include "measure/profiling.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <numeric>

#include "base/error.h"
#include "measure/recorder.h"

namespace maru::measure {
namespace {

constexpr std::uint64_t kMostTimes = 10'000;
constexpr double kMeterPeriods = 20;
constexpr double kShortestWindow = 0.1;  // seconds; below, the clocks of a device are still moving
// The device's clocks and the meter's filter follow a load with some delay: this much of a window goes
// before it.
constexpr double kLeadIn = 0.25;

bool is_work(const ProfiledStep& step) { return step.kind == "kernel" || step.kind == "copy"; }

double middle_of(std::vector<double>& values) {
  if (values.empty()) return 0;
  std::ranges::sort(values);
  const std::size_t half = values.size() / 2;
  return values.size() % 2 == 1 ? values[half] : (values[half - 1] + values[half]) / 2;
}

double seconds_of(const Profilee& what, std::size_t step, std::uint64_t times) {
  const double begin = what.now();
  what.run_step(step, times);
  return what.now() - begin;
}

// How long one launch of each step takes when others follow it, and how long waiting takes beyond.
struct Estimate {
  std::vector<double> launch;
  double waiting = 0;
};

Estimate estimate(const Profilee& what, const ProfileResult& result) {
  constexpr std::uint64_t kMany = 9;
  constexpr int kTries = 3;
  Estimate found{std::vector<double>(result.steps.size(), 0), 0};
  std::vector<double> waiting;
  for (std::size_t i = 0; i < result.steps.size(); ++i) {
    const bool repeats = what.is_waited_for[i] && is_work(result.steps[i]);
    double one = std::numeric_limits<double>::infinity(), many = one;
    for (int attempt = 0; attempt < (repeats ? kTries : 1); ++attempt) {
      one = std::min(one, seconds_of(what, i, 1));
      if (repeats) many = std::min(many, seconds_of(what, i, kMany));
    }
    found.launch[i] = one;
    if (!repeats) continue;
    found.launch[i] = std::max((many - one) / (kMany - 1), many / kMany / 10);
    waiting.push_back(std::max(0.0, one - found.launch[i]));
  }
  found.waiting = middle_of(waiting);
  return found;
}

std::uint64_t times_for(double launch, double waiting, const ProfilingOptions& options) {
  if (waiting <= 0 || launch <= 0) return 1;
  const double enough = std::ceil(waiting / (options.waiting * launch));
  const double most = std::max(1.0, std::floor(options.longest_sample / launch));
  return static_cast<std::uint64_t>(
      std::clamp(enough, 1.0, std::min(most, static_cast<double>(kMostTimes))));
}

void add_notes(const Profilee& what, ProfileResult& result) {
  std::uint64_t most = 1;
  for (const ProfiledStep& step : result.steps) most = std::max(most, step.times);
  if (most > 1) {
    result.notes.push_back(fmt::format(
        "Steps of a device that works on its own were launched up to {} times before waiting once "
        "({:.1f} µs, included and not subtracted); repeated, a step finds its data in caches more "
        "often than in a run.",
        most, result.overhead_seconds * 1e6));
  }
  if (result.runs == 1)
    result.notes.emplace_back("One sample has no interval: --runs 6 or more gives one.");
  else if (result.runs < 6)
    result.notes.push_back(
        fmt::format("Intervals are from the least to the largest of {} samples, "
                    "which holds less often than in 95 %: --runs 6 or more.",
                    result.runs));
  const double sum = result.sum_seconds();
  if (result.run.value > 0 && sum > 0) {
    const double difference = sum - result.run.value;
    const bool is_within = result.runs > 1 && sum >= result.run.low && sum <= result.run.high;
    const bool is_waited_for = std::ranges::find(what.is_waited_for, true) != what.is_waited_for.end();
    const char* reason =
        !is_waited_for   ? ""
        : difference > 0 ? "; in a run launches overlap, and kernels that do not wait for each other "
                           "may run at once"
                         : "; a run waits for the device as well";
    result.notes.push_back(fmt::format("All steps alone take {:.1f} % {} than a whole run{}.",
                                       100 * std::abs(difference) / result.run.value,
                                       difference >= 0 ? "more" : "less",
                                       is_within ? ", which is within its interval" : reason));
  }
}

}  // namespace

std::optional<double> Roof::at(double flops_per_byte) const {
  if (flops <= 0 || bytes <= 0) return std::nullopt;
  return std::min(flops, flops_per_byte * bytes);
}

double ProfileResult::sum_seconds() const {
  return std::accumulate(steps.begin(), steps.end(), 0.0,
                         [](double sum, const ProfiledStep& step) { return sum + step.seconds.value; });
}

std::optional<double> ProfileResult::sum_joules() const {
  double sum = 0;
  for (const ProfiledStep& step : steps) {
    if (!step.joules && is_work(step)) return std::nullopt;
    sum += step.joules.value_or(0);
  }
  return steps.empty() ? std::nullopt : std::optional(sum);
}

Interval median_interval(std::vector<double> samples) {
  const double middle = middle_of(samples);  // sorts
  if (samples.empty()) return {};
  const std::size_t n = samples.size();
  // The median lies between the k-th least and the k-th largest unless fewer than k of n throws of a
  // coin show one side.
  constexpr std::size_t kMany = 200;  // from here on as a normal distribution; 0.5^n ends at 1074
  std::size_t k = 0;
  if (n > kMany) {
    const auto samples_taken = static_cast<double>(n);
    k = static_cast<std::size_t>((samples_taken - 1.96 * std::sqrt(samples_taken)) / 2);
  } else {
    double probability = std::pow(0.5, static_cast<double>(n)), below = 0;
    while (k < n / 2 && below + probability <= 0.025) {
      below += probability;
      ++k;
      probability *= static_cast<double>(n - k + 1) / static_cast<double>(k);
    }
  }
  k = std::max<std::size_t>(k, 1);
  return {middle, samples[k - 1], samples[n - k]};
}

void time_steps(const Profilee& what, const ProfilingOptions& options, ProfileResult& result,
                const std::function<void(std::uint64_t pass)>& done) {
  const std::size_t count = result.steps.size();
  MARU_ASSERT(what.is_waited_for.size() == count && options.runs > 0);
  for (std::uint64_t i = 0; i < options.warmup; ++i) what.run();
  const Estimate rough = estimate(what, result);
  for (std::size_t i = 0; i < count; ++i) {
    const bool repeats = what.is_waited_for[i] && is_work(result.steps[i]);
    result.steps[i].times = repeats ? times_for(rough.launch[i], rough.waiting, options) : 1;
  }
  result.overhead_seconds = rough.waiting;
  result.runs = options.runs;

  std::vector<std::vector<double>> samples(count);
  std::vector<double> whole;
  for (std::uint64_t pass = 0; pass < options.runs; ++pass) {
    for (std::size_t i = 0; i < count; ++i) {
      const std::uint64_t times = result.steps[i].times;
      samples[i].push_back(seconds_of(what, i, times) / static_cast<double>(times));
    }
    what.run();  // one that is not timed: steps that were repeated leave caches as no run does
    const double begin = what.now();
    what.run();
    whole.push_back(what.now() - begin);
    if (done) done(pass + 1);
  }
  for (std::size_t i = 0; i < count; ++i) result.steps[i].seconds = median_interval(samples[i]);
  result.run = median_interval(whole);
  const double sum = result.sum_seconds();
  for (ProfiledStep& step : result.steps) step.share = sum > 0 ? step.seconds.value / sum : 0;
  add_notes(what, result);
}

void compare_with_roofs(ProfileResult& result) {
  for (ProfiledStep& step : result.steps) {
    const auto roof = std::ranges::find(result.roofs, step.device, &Roof::device);
    if (roof == result.roofs.end() || !is_work(step) || step.seconds.value <= 0) continue;
    if (step.flops > 0 && step.bytes > 0) {
      if (const auto rate = roof->at(step.flops / step.bytes))
        step.roof_share = step.flops_rate() / *rate;
    } else if (step.bytes > 0 && roof->bytes > 0) {
      step.roof_share = step.bytes_rate() / roof->bytes;  // nothing is computed
    }
  }
}

double EnergyPlan::seconds() const {
  return window_seconds * (1 + kLeadIn) * static_cast<double>(steps.size());
}

EnergyPlan plan_energy(const ProfileResult& result, const MeterFacts& meter, double most_seconds) {
  EnergyPlan plan;
  plan.window_seconds = std::max(kMeterPeriods * meter.period_seconds, kShortestWindow);
  for (std::size_t i = 0; i < result.steps.size(); ++i) {
    if (is_work(result.steps[i])) plan.steps.push_back(i);
  }
  const auto room =
      static_cast<std::size_t>(std::max(0.0, most_seconds / (plan.window_seconds * (1 + kLeadIn))));
  if (plan.steps.size() > room) {
    plan.left_out = plan.steps.size() - room;
    std::ranges::stable_sort(plan.steps, std::greater{},
                             [&](std::size_t i) { return result.steps[i].seconds.value; });
    plan.steps.resize(room);
    std::ranges::sort(plan.steps);
  }
  return plan;
}

void take_energy(const Profilee& what, Meter& meter, const EnergyPlan& plan, ProfileResult& result,
                 const std::function<void(std::size_t step)>& done) {
  // A piece of a window, so that its end is met without knowing how fast the step is by now.
  constexpr double kPiece = 0.02;
  std::vector<std::uint64_t> launches;
  Recorder recorder(meter);
  std::size_t next = 0;
  for (std::size_t i = 0; i < result.steps.size(); ++i) {
    ProfiledStep& step = result.steps[i];
    if (next == plan.steps.size() || plan.steps[next] != i) {
      what.run_step(i, 1);  // those behind it find what a run would have left
      continue;
    }
    ++next;
    const double share = kPiece * plan.window_seconds / std::max(step.seconds.value, 1e-9);
    const auto piece = static_cast<std::uint64_t>(std::clamp(share, 1.0, 1e6));
    const auto repeat = [&](double seconds) {
      std::uint64_t times = 0;
      for (const double end = what.now() + seconds; times == 0 || what.now() < end; times += piece)
        what.run_step(i, piece);
      return times;
    };
    repeat(kLeadIn * plan.window_seconds);
    recorder.open();
    step.energy_times = repeat(plan.window_seconds);
    recorder.close();
    if (done) done(i);
  }
  recorder.finish();
  const std::vector<WindowEnergy>& windows = recorder.windows();
  MARU_ASSERT(windows.size() == plan.steps.size());
  for (std::size_t k = 0; k < windows.size(); ++k) {
    ProfiledStep& step = result.steps[plan.steps[k]];
    const auto times = static_cast<double>(step.energy_times);
    step.joules = windows[k].joules / times;
    step.uncertainty_joules = windows[k].uncertainty_joules / times;
  }
}

}  // namespace maru::measure
