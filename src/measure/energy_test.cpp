// Power whose energy is known, seen through meters of all kinds: what energy_between() says must be as
// near as it claims, and it must not claim much more than it has to.
#include <gtest/gtest.h>
#include <maru/error.h>

#include <cmath>
#include <functional>
#include <random>

#include "measure/recorder.h"

namespace maru::measure {
namespace {

// Power over time, with its integral in closed form.
struct Trace {
  const char* name;
  std::function<double(double)> watts, joules;
  double most_watts;
};

Trace constant(double watts) {
  return {"constant", [=](double) { return watts; }, [=](double t) { return watts * t; }, watts};
}
// `high` in the first `on` of each `cycle` seconds, else `low`.
Trace square(double low, double high, double cycle, double on) {
  return {"square", [=](double t) { return std::fmod(t, cycle) < on ? high : low; },
          [=](double t) {
            return std::floor(t / cycle) * (high * on + low * (cycle - on)) +
                   high * std::min(std::fmod(t, cycle), on) +
                   low * std::max(std::fmod(t, cycle) - on, 0.0);
          },
          high};
}
Trace ramp(double from, double slope) {
  return {"ramp", [=](double t) { return from + slope * t; },
          [=](double t) { return from * t + slope * t * t / 2; }, from + slope * 40};
}
// Idle, work from 5 to 35 s, idle: as a window around work sees it.
Trace work(double idle, double busy) {
  return {"work", [=](double t) { return t >= 5 && t < 35 ? busy : idle; },
          [=](double t) { return idle * t + (busy - idle) * (std::min(std::max(t, 5.0), 35.0) - 5.0); },
          busy};
}

struct Sensor {
  double period = 0.1, jitter = 0;  // of updates; jitter: share of the period, either way
  double step = 0;                  // of the counter or the power
  double read_jitter = 0;           // share of the time between two reads
  bool averages = false;            // power over the period before; else at the update
  double hole_at = -1, hole = 0;    // nobody reads for so long
};

// What the recorder sees of it: reads three times a period, and keeps what is new.
std::vector<Reading> counter_trace(const Trace& truth, const Sensor& sensor, std::mt19937& random) {
  std::uniform_real_distribution<double> uniform(-1, 1);
  std::vector<Reading> trace;
  double update = sensor.period * (1 + uniform(random)) / 2, told = 0;
  for (double t = 0.01; t < 40; t += sensor.period / 3 * (1 + sensor.read_jitter * uniform(random))) {
    if (sensor.hole > 0 && t >= sensor.hole_at && t < sensor.hole_at + sensor.hole) continue;
    while (update <= t) {
      told = truth.joules(update);
      if (sensor.step > 0) told = std::floor(told / sensor.step) * sensor.step;
      update += sensor.period * (1 + sensor.jitter * uniform(random));
    }
    if (trace.empty() || *trace.back().joules != told) trace.push_back({.seconds = t, .joules = told});
  }
  return trace;
}

std::vector<Reading> power_trace(const Trace& truth, const Sensor& sensor, std::mt19937& random) {
  std::uniform_real_distribution<double> uniform(-1, 1);
  std::vector<Reading> trace;
  double update = sensor.period * (1 + uniform(random)) / 2, told = truth.watts(0);
  for (double t = 0.01; t < 40; t += sensor.period / 3 * (1 + sensor.read_jitter * uniform(random))) {
    if (sensor.hole > 0 && t >= sensor.hole_at && t < sensor.hole_at + sensor.hole) continue;
    while (update <= t) {
      const double from = std::max(0.0, update - sensor.period);
      told = sensor.averages && update > from
                 ? (truth.joules(update) - truth.joules(from)) / (update - from)
                 : truth.watts(update);
      if (sensor.step > 0) told = std::round(told / sensor.step) * sensor.step;
      update += sensor.period * (1 + sensor.jitter * uniform(random));
    }
    const bool late = !trace.empty() && t - trace.back().seconds >= sensor.period;
    if (trace.empty() || *trace.back().watts != told || late)
      trace.push_back({.seconds = t, .watts = told});
  }
  return trace;
}

MeterFacts facts_of(const Sensor& sensor, bool counts) {
  MeterFacts facts;
  facts.name = "synthetic";
  facts.period_seconds = sensor.period;
  (counts ? facts.resolution_joules : facts.resolution_watts) = sensor.step;
  return facts;
}

const std::vector<Trace>& truths() {
  static const std::vector<Trace> all{constant(5),
                                      constant(700),
                                      square(2, 12, 0.731, 0.29),
                                      square(0, 300, 0.0173, 0.004),
                                      square(80, 700, 7.3, 3.1),
                                      ramp(3, 0.5),
                                      work(70, 700)};
  return all;
}

TEST(EnergyBetween, CountersAreRecoveredWithinTheBoundWhateverThePowerDoes) {
  const Sensor sensors[] = {
      {.period = 0.1},
      {.period = 0.1, .step = 1e-3, .read_jitter = 0.4},
      {.period = 0.1, .jitter = 0.15, .step = 1e-3, .read_jitter = 0.3},
      {.period = 0.5, .step = 0.036, .read_jitter = 0.4},
      {.period = 0.02, .step = 1},
      {.period = 0.1, .read_jitter = 0.3, .hole_at = 14.9, .hole = 0.9},
  };
  std::mt19937 random(20161);
  std::uniform_real_distribution<double> uniform(0, 1);
  int checked = 0;
  for (const Trace& truth : truths())
    for (const Sensor& sensor : sensors)
      for (int round = 0; round < 60; ++round) {
        const auto trace = counter_trace(truth, sensor, random);
        const double begin = 4 + 2 * uniform(random), end = 15 + 21 * uniform(random);
        const MeterFacts facts = facts_of(sensor, true);
        const WindowEnergy energy = energy_between(trace, facts, begin, end);
        const double known = truth.joules(end) - truth.joules(begin);
        ASSERT_NEAR(energy.joules, known, energy.uncertainty_joules)
            << truth.name << " period " << sensor.period << " from " << begin << " to " << end;
        // Three updates at each edge at most, or the hole, at the highest power there is.
        const double edges = 6 * sensor.period * (1 + sensor.jitter) + 2 * sensor.hole;
        EXPECT_LE(energy.uncertainty_joules, truth.most_watts * edges + 8 * sensor.step) << truth.name;
        EXPECT_FALSE(energy.power_joules);
        ++checked;
      }
  EXPECT_EQ(checked, 7 * 6 * 60);
}

// A value that was made just after a read is half a period old when it is seen, and a whole one after a
// hole. All that is used in between is not in it, however much that is.
TEST(EnergyBetween, WhatIsUsedWhileAValueGetsOldIsWithinTheBound) {
  MeterFacts facts;
  facts.period_seconds = 1;
  struct Case {
    std::vector<Reading> trace;
    double end, known;
  };
  const Case cases[] = {
      // 10 J until 2.5, when it is updated; 100 J at 2.6; seen at 3.0, when there is nothing new
      {{{.seconds = 0, .joules = 0},
        {.seconds = 1, .joules = 1},
        {.seconds = 2, .joules = 2},
        {.seconds = 3, .joules = 10},
        {.seconds = 4, .joules = 110},
        {.seconds = 5, .joules = 111}},
       2.7,
       110},
      // nobody reads from 2.0 to 5.0; 10 J until 4.05, when it is updated; 100 J at 4.1
      {{{.seconds = 0, .joules = 0},
        {.seconds = 1, .joules = 1},
        {.seconds = 2, .joules = 2},
        {.seconds = 5, .joules = 10},
        {.seconds = 6, .joules = 110},
        {.seconds = 7, .joules = 111}},
       4.3,
       110},
  };
  for (const auto& [trace, end, known] : cases) {
    const WindowEnergy energy = energy_between(trace, facts, 1.0, end);
    EXPECT_NEAR(energy.joules, known - 1, energy.uncertainty_joules);
  }
}

// The formula in energy.cpp: 1.5 to 2.5 P T, however long the window is.
TEST(EnergyBetween, TheClaimForSteadyPowerIsTwoPeriods) {
  const Sensor sensor{.period = 0.1};
  std::mt19937 random(7);
  for (int round = 0; round < 100; ++round) {
    const auto trace = counter_trace(constant(100), sensor, random);
    for (const double end : {10.03, 35.77}) {
      const WindowEnergy energy = energy_between(trace, facts_of(sensor, true), 5.01, end);
      EXPECT_GE(energy.uncertainty_joules, 1.2 * 100 * 0.1);
      EXPECT_LE(energy.uncertainty_joules, 2.8 * 100 * 0.1);
      EXPECT_NEAR(energy.joules, 100 * (end - 5.01), 0.5 * 100 * 0.1);  // and is nearer in fact
    }
  }
}

TEST(EnergyBetween, SampledPowerIsRecoveredWhereItIsSlowerThanTheMeter) {
  const Sensor sensors[] = {
      {.period = 0.1},
      {.period = 0.1, .step = 0.04, .read_jitter = 0.4},
      {.period = 0.05, .jitter = 0.2, .step = 0.01, .read_jitter = 0.3, .averages = true},
      {.period = 0.2, .read_jitter = 0.3, .averages = true},
  };
  const Trace slow[] = {constant(5), square(2, 12, 1.931, 0.87), square(80, 700, 7.3, 3.1),
                        ramp(3, 0.5), work(70, 700)};
  std::mt19937 random(20162);
  std::uniform_real_distribution<double> uniform(0, 1);
  int checked = 0, outside = 0;
  for (const Trace& truth : slow)
    for (const Sensor& sensor : sensors)
      for (int round = 0; round < 60; ++round) {
        const auto trace = power_trace(truth, sensor, random);
        const double begin = 4 + 2 * uniform(random), end = 15 + 21 * uniform(random);
        const WindowEnergy energy = energy_between(trace, facts_of(sensor, false), begin, end);
        const double known = truth.joules(end) - truth.joules(begin);
        outside += std::abs(energy.joules - known) > energy.uncertainty_joules + 1e-9 * known ? 1 : 0;
        // Two periods of the whole swing at each edge, and a share of it for each of the steps between.
        const double steps = 2 + 2 * (end - begin) / 1.931;
        EXPECT_LE(energy.uncertainty_joules,
                  truth.most_watts * sensor.period * (4 + 2 * std::sqrt(steps)) + sensor.step * 20)
            << truth.name << " period " << sensor.period;
        ++checked;
      }
  EXPECT_EQ(checked, 5 * 4 * 60);
  EXPECT_LE(outside, checked / 20);  // steps within the window are claimed with 95 % only
}

// As windows are: work begins as they open and ends as they close. There is no step within, so that
// what is claimed is a bound.
TEST(EnergyBetween, SampledWorkThatFillsItsWindowIsWithinTheBound) {
  std::mt19937 random(11);
  for (const bool averages : {false, true})
    for (int round = 0; round < 300; ++round) {
      const Sensor sensor{.period = 0.1, .jitter = 0.1, .read_jitter = 0.3, .averages = averages};
      const Trace truth = work(70, 700);
      const auto trace = power_trace(truth, sensor, random);
      const WindowEnergy energy = energy_between(trace, facts_of(sensor, false), 5, 35);
      ASSERT_NEAR(energy.joules, 30 * 700, energy.uncertainty_joules) << "averages " << averages;
      EXPECT_LE(energy.uncertainty_joules, 4 * 630 * 0.1);
    }
}

// A meter that averages sees power faster than its period, one that samples does not: docs/meters.md.
TEST(EnergyBetween, AveragedPowerIsRecoveredHoweverFastItSwings) {
  const Trace truth = square(0, 300, 0.0173, 0.004);
  const Sensor sensor{.period = 0.1, .averages = true};
  std::mt19937 random(3);
  const auto trace = power_trace(truth, sensor, random);
  const WindowEnergy energy = energy_between(trace, facts_of(sensor, false), 5, 35);
  EXPECT_NEAR(energy.joules, truth.joules(35) - truth.joules(5), energy.uncertainty_joules);
  EXPECT_NEAR(energy.joules, 30 * 300 * 0.004 / 0.0173, 25);
}

TEST(EnergyBetween, BothAreToldWhereTheMeterTellsBoth) {
  std::vector<Reading> trace;
  for (int i = 0; i <= 100; ++i) {
    const double t = 0.1 * i;
    trace.push_back({.seconds = t, .joules = std::floor(t / 0.2 + 1e-9) * 0.2 * 10, .watts = 11});
  }
  MeterFacts facts;
  facts.period_seconds = 0.2;
  const WindowEnergy energy = energy_between(trace, facts, 2, 8);
  EXPECT_NEAR(energy.joules, 60, 1e-6 + energy.uncertainty_joules);
  ASSERT_TRUE(energy.power_joules);
  EXPECT_NEAR(*energy.power_joules, 66, 1e-9);
  EXPECT_DOUBLE_EQ(energy.begin, 2);
  EXPECT_DOUBLE_EQ(energy.end, 8);
}

TEST(EnergyBetween, RepeatedValuesOfACounterChangeNothing) {
  std::mt19937 random(5);
  const Sensor sensor{.period = 0.1};
  const auto trace = counter_trace(constant(50), sensor, random);
  std::vector<Reading> repeated;
  for (std::size_t i = 0; i < trace.size(); ++i) {
    repeated.push_back(trace[i]);
    if (i + 1 < trace.size()) {
      repeated.push_back(trace[i]);
      repeated.back().seconds = (trace[i].seconds + trace[i + 1].seconds) / 2;
    }
  }
  const MeterFacts facts = facts_of(sensor, true);
  EXPECT_NEAR(energy_between(trace, facts, 10, 20).joules,
              energy_between(repeated, facts, 10, 20).joules, 1e-9);
}

TEST(EnergyBetween, EmptyWindowsAreNothing) {
  std::mt19937 random(5);
  const Sensor sensor{.period = 0.1};
  EXPECT_DOUBLE_EQ(
      energy_between(counter_trace(constant(50), sensor, random), facts_of(sensor, true), 10, 10)
          .joules,
      0);
  EXPECT_DOUBLE_EQ(
      energy_between(power_trace(constant(50), sensor, random), facts_of(sensor, false), 10, 10).joules,
      0);
}

TEST(EnergyBetween, TracesThatDoNotReachBeyondTheWindowAreRefused) {
  std::mt19937 random(6);
  const Sensor sensor{.period = 0.5};
  const auto counter = counter_trace(constant(50), sensor, random),
             power = power_trace(constant(50), sensor, random);
  const auto refused = [&](const std::vector<Reading>& trace, bool counts, double begin, double end) {
    try {
      energy_between(trace, facts_of(sensor, counts), begin, end);
      return std::string("nothing");
    } catch (const Error& error) {
      return error.got();
    }
  };
  EXPECT_EQ(refused({}, true, 1, 2), "none");
  for (const bool counts : {true, false}) {
    const auto& trace = counts ? counter : power;
    EXPECT_NE(refused(trace, counts, -1, 20).find("-1.010 s before its begin"), std::string::npos)
        << refused(trace, counts, -1, 20);
    EXPECT_NE(refused(trace, counts, 10, 41).find("after its end"), std::string::npos);
    EXPECT_EQ(refused(trace, counts, 10, 38), "nothing");
    // The last value may be a period old, so it says nothing of the moment at which it was seen.
    EXPECT_NE(refused(trace, counts, 10, trace.back().seconds - 0.01), "nothing");
  }
  EXPECT_NE(refused({{.seconds = 1, .joules = 5}, {.seconds = 2, .joules = 4}}, true, 1, 2), "nothing");
}

}  // namespace
}  // namespace maru::measure
