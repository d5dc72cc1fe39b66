// Profiling: times each step of a plan alone, and takes its energy, through callbacks, so that it knows
// nothing of models and sessions. One thread.
#pragma once

#include <functional>
#include <vector>

#include "measure/profile.h"

namespace maru::measure {

// What is profiled. The callbacks are those of a Session; `now` is a clock in seconds.
struct Profilee {
  std::function<void(std::size_t step, std::size_t times)> run_step;
  std::function<void()> run;
  std::function<double()> now = now_seconds;
  // Of each step: whether its device works on its own, so that being told that it is done takes time.
  std::vector<bool> is_waited_for;
};

struct ProfilingOptions {
  std::uint64_t runs = 30, warmup = 3;
  // Waiting shall take at most this share of a sample; steps are repeated until it does.
  double waiting = 0.05;
  double longest_sample = 0.05;  // seconds; no step is repeated beyond that
};

// The interval of a median from the order of the samples (binomial, no assumption on their
// distribution; Hahn and Meeker, "Statistical Intervals", section 5.2); at least 95 %. Of fewer than 6
// samples it is from the least to the largest, which holds less often, and of one it is no interval.
Interval median_interval(std::vector<double> samples);

// Fills times, shares, run, overhead_seconds and notes; result.steps have their names, kinds and work
// already, in the order of the plan. Passes over all steps and a whole run take turns, so that drift
// meets all alike. `done` is told of each pass.
void time_steps(const Profilee& what, const ProfilingOptions& options, ProfileResult& result,
                const std::function<void(std::uint64_t pass)>& done = {});

// Fills roof_share from result.roofs.
void compare_with_roofs(ProfileResult& result);

// Windows in which a meter's reading of one step is worth something.
struct EnergyPlan {
  double window_seconds = 0;       // each; 20 periods of the meter at least
  std::vector<std::size_t> steps;  // in the order of the plan
  std::size_t left_out = 0;        // steps for which there is no time: those that take least
  double seconds() const;          // all of it
};
EnergyPlan plan_energy(const ProfileResult& result, const MeterFacts& meter, double most_seconds);

// Repeats each step of the plan for a window and fills joules and uncertainty_joules. The meter is read
// by a thread of its own. Throws Error where it fails.
void take_energy(const Profilee& what, Meter& meter, const EnergyPlan& plan, ProfileResult& result,
                 const std::function<void(std::size_t step)>& done = {});

}  // namespace maru::measure
