#include "measure/profiling.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <map>
#include <nlohmann/json.hpp>

#include "measure/profile_files.h"
#include "tests/reports.h"

namespace maru::measure {
namespace {

// A device with a clock of its own: launches take what they take, and waiting for them takes more.
class FakeDevice {
 public:
  explicit FakeDevice(double waiting) : waiting_(waiting) {}

  void add(std::string name, std::string kind, double seconds, double flops = 0, double bytes = 0) {
    ProfiledStep step;
    step.name = std::move(name);
    step.kind = std::move(kind);
    step.device = "fake";
    step.flops = flops;
    step.bytes = bytes;
    result.steps.push_back(std::move(step));
    seconds_.push_back(seconds);
    calls.emplace_back();
  }

  Profilee profilee() {
    Profilee what;
    what.run_step = [this](std::size_t step, std::size_t times) {
      order.push_back(step);
      calls[step].push_back(times);
      now_ += seconds_[step] * static_cast<double>(times) + waiting_;
    };
    what.run = [this] {
      ++runs;
      for (const double seconds : seconds_) now_ += seconds;
      now_ += waiting_;
    };
    what.now = [this] { return now_; };
    what.is_waited_for.assign(seconds_.size(), waiting_ > 0);
    return what;
  }

  ProfileResult result;
  std::vector<std::vector<std::size_t>> calls;
  std::vector<std::size_t> order;
  int runs = 0;

 private:
  double waiting_, now_ = 100;
  std::vector<double> seconds_;
};

TEST(Profiling, WhatIsNotWaitedForRunsOnceASample) {
  FakeDevice device(0);
  device.add("a", "kernel", 1e-3);
  device.add("b", "kernel", 3e-3);
  ProfilingOptions options;
  options.runs = 10;
  time_steps(device.profilee(), options, device.result);
  for (const auto& times : device.calls[0]) EXPECT_EQ(times, 1U);
  EXPECT_NEAR(device.result.steps[1].seconds.value, 3e-3, 1e-9);
  EXPECT_NEAR(device.result.steps[1].share, 0.75, 1e-6);
  EXPECT_NEAR(device.result.run.value, 4e-3, 1e-9);
  EXPECT_EQ(device.result.overhead_seconds, 0);
  EXPECT_EQ(device.result.runs, 10U);
}

TEST(Profiling, WaitingIsLittleOfWhatIsTimed) {
  FakeDevice device(20e-6);
  device.add("small", "kernel", 2e-6);
  device.add("large", "kernel", 4e-3);
  device.add("wait", "wait", 0);
  time_steps(device.profilee(), {}, device.result);
  const auto& steps = device.result.steps;
  EXPECT_NEAR(device.result.overhead_seconds, 20e-6, 1e-9);
  EXPECT_GE(steps[0].times, 199U);
  EXPECT_LE(steps[0].times, 201U);
  EXPECT_NEAR(steps[0].seconds.value, 2e-6, 2e-6 * 0.051);
  EXPECT_GT(steps[0].seconds.value, 2e-6);  // it is not subtracted in silence
  EXPECT_EQ(steps[1].times, 1U);
  EXPECT_EQ(steps[2].times, 1U);
  for (const auto& times : device.calls[2]) EXPECT_EQ(times, 1U);
  ASSERT_FALSE(device.result.notes.empty());
  EXPECT_NE(device.result.notes[0].find("20.0 µs"), std::string::npos);
}

TEST(Profiling, RepeatingHasAnEnd) {
  FakeDevice device(20e-6);
  device.add("nothing", "kernel", 0);
  device.add("large", "kernel", 1);
  ProfilingOptions options;
  options.runs = 2;
  time_steps(device.profilee(), options, device.result);
  EXPECT_LE(device.result.steps[0].times, 10'000U);
  EXPECT_EQ(device.result.steps[1].times, 1U);
}

TEST(Profiling, StepsKeepTheirOrder) {
  FakeDevice device(0);
  for (const char* name : {"a", "b", "c"}) device.add(name, "kernel", 1e-3);
  ProfilingOptions options;
  options.runs = 4;
  std::uint64_t told = 0;
  time_steps(device.profilee(), options, device.result, [&](std::uint64_t pass) { told = pass; });
  for (std::size_t i = 0; i < device.order.size(); ++i) EXPECT_EQ(device.order[i], i % 3);
  EXPECT_EQ(told, 4U);
}

TEST(Profiling, TheSumIsHeldAgainstAWholeRun) {
  FakeDevice device(0);
  device.add("a", "kernel", 1e-3);
  Profilee what = device.profilee();
  const auto run = what.run;
  what.run = [&] {
    run();
    what.run_step(0, 1);  // a whole run takes twice as long
  };
  time_steps(what, {}, device.result);
  ASSERT_EQ(device.result.notes.size(), 1U);
  EXPECT_NE(device.result.notes[0].find("50.0 % less than a whole run"), std::string::npos);
}

TEST(Profiling, IntervalsOfMedians) {
  std::vector<double> samples;
  for (int i = 30; i >= 1; --i) samples.push_back(i);
  const Interval thirty = median_interval(samples);  // tables have 10 and 21 for 30 samples
  EXPECT_EQ(thirty.value, 15.5);
  EXPECT_EQ(thirty.low, 10);
  EXPECT_EQ(thirty.high, 21);
  const Interval six = median_interval({6, 5, 4, 3, 2, 1});
  EXPECT_EQ(six.low, 1);
  EXPECT_EQ(six.high, 6);
  const Interval nine = median_interval({1, 2, 3, 4, 5, 6, 7, 8, 9});
  EXPECT_EQ(nine.low, 2);
  EXPECT_EQ(nine.high, 8);
  const Interval one = median_interval({7});
  EXPECT_EQ(one.low, 7);
  EXPECT_EQ(one.high, 7);
  EXPECT_EQ(median_interval({}).value, 0);
}

TEST(Profiling, IntervalOfManySamplesStaysNarrow) {
  for (const int count : {200, 201, 1000, 1100, 2000}) {
    std::vector<double> samples;
    for (int i = 1; i <= count; ++i) samples.push_back(i);
    const Interval interval = median_interval(samples);
    const double half = 0.98 * std::sqrt(count);
    EXPECT_NEAR(interval.low, count / 2.0 - half, 1.5) << count;
    EXPECT_NEAR(interval.high, count / 2.0 + half, 2) << count;
  }
}

TEST(Profiling, FewSamplesAreNoted) {
  for (const std::uint64_t runs : {1, 5, 6}) {
    ProfileResult result;
    ProfilingOptions options;
    options.runs = runs;
    time_steps({.run_step = [](std::size_t, std::size_t) {}, .run = [] {}, .is_waited_for = {}},
               options, result);
    const bool is_noted = std::ranges::any_of(
        result.notes, [](const std::string& note) { return note.find("--runs 6") != note.npos; });
    EXPECT_EQ(is_noted, runs < 6) << runs;
  }
}

TEST(Profiling, RoofIsTheLesserOfArithmeticAndMemory) {
  ProfileResult result;
  ProfiledStep step;
  step.kind = "kernel";
  step.device = "fake";
  step.seconds.value = 1;
  step.flops = 100;
  step.bytes = 1;  // much arithmetic
  result.steps.push_back(step);
  step.bytes = 50;  // 2 flops a byte: 20 a second are allowed
  result.steps.push_back(step);
  step.kind = "copy";
  step.flops = 0;
  step.bytes = 5;
  result.steps.push_back(step);
  step.kind = "wait";
  result.steps.push_back(step);
  result.roofs = {{"fake", 200, 10, "", ""}};
  compare_with_roofs(result);
  EXPECT_DOUBLE_EQ(result.steps[0].roof_share.value(), 0.5);
  EXPECT_DOUBLE_EQ(result.steps[1].roof_share.value(), 5);
  EXPECT_DOUBLE_EQ(result.steps[2].roof_share.value(), 0.5);
  EXPECT_FALSE(result.steps[3].roof_share);
  result.steps[0].roof_share.reset();
  result.roofs[0].bytes = 0;  // not known: nothing is said
  compare_with_roofs(result);
  EXPECT_FALSE(result.steps[0].roof_share);
}

TEST(Profiling, EnergyHasWindowsOfManyPeriodsAndABoundedTime) {
  FakeDevice device(0);
  device.add("a", "kernel", 1e-3);
  device.add("b", "kernel", 5e-3);
  device.add("wait", "wait", 1);
  device.add("c", "copy", 3e-3);
  time_steps(device.profilee(), {}, device.result);
  MeterFacts slow;
  slow.period_seconds = 0.1;
  const EnergyPlan all = plan_energy(device.result, slow, 1000);
  EXPECT_DOUBLE_EQ(all.window_seconds, 2);
  EXPECT_EQ(all.steps, (std::vector<std::size_t>{0, 1, 3}));
  EXPECT_EQ(all.left_out, 0U);
  const EnergyPlan two = plan_energy(device.result, slow, all.seconds() - 0.1);
  EXPECT_EQ(two.steps, (std::vector<std::size_t>{1, 3}));  // those that take most
  EXPECT_EQ(two.left_out, 1U);
  EXPECT_TRUE(plan_energy(device.result, slow, 1).steps.empty());
  EXPECT_GE(plan_energy(device.result, MeterFacts(), 1000).window_seconds, 0.1);
}

TEST(Profiling, TraceIsWhatBrowsersRead) {
  const auto json = nlohmann::json::parse(trace_of(testing::sample_profile()));
  std::map<int, std::string> rows;
  double end = 0;
  int steps = 0;
  for (const auto& event : json.at("traceEvents")) {
    if (event.at("ph") == "M") {
      if (event.at("name") == "thread_name") rows[event.at("tid")] = event.at("args").at("name");
      continue;
    }
    ASSERT_EQ(event.at("ph"), "X");
    EXPECT_NEAR(event.at("ts"), end, 1e-6);
    end = event.at("ts").get<double>() + event.at("dur").get<double>();
    EXPECT_EQ(rows.at(event.at("tid")), event.at("name") == "<prob>" ? "opencl" : "cpu");
    ++steps;
  }
  EXPECT_EQ(steps, 3);
  EXPECT_NEAR(end, 10'000, 1e-6);
}

TEST(Profiling, JsonHasWhatWasFoundAndNullForTheRest) {
  const auto json = nlohmann::json::parse(json_of(testing::sample_profile()));
  EXPECT_EQ(json.at("format"), "maru profile 1");
  EXPECT_EQ(json.at("steps").size(), 3U);
  EXPECT_DOUBLE_EQ(json["steps"][1]["seconds"]["low"], 7.8e-3);
  EXPECT_TRUE(json["steps"][0]["joules"].is_null());
  EXPECT_DOUBLE_EQ(json["steps"][1]["joules"], 0.02);
  EXPECT_TRUE(json["sum_joules"].is_null());
  EXPECT_EQ(json["meter"]["boundary"], "board");
  EXPECT_TRUE(nlohmann::json::accept(json_of(ProfileResult())));
}

}  // namespace
}  // namespace maru::measure
