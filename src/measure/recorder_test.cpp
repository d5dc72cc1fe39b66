// The recorder with meters that are made here. Nothing depends on how fast this machine is: the power
// of these meters is known at each moment of the real clock.
#include "measure/recorder.h"

#include <gtest/gtest.h>
#include <maru/error.h>

#include <atomic>
#include <chrono>
#include <cmath>
#include <functional>
#include <thread>

namespace maru::measure {
namespace {

void wait(double seconds) { std::this_thread::sleep_for(std::chrono::duration<double>(seconds)); }

// 100 W always, told each `period`: by a counter, by power, or both. Complains when two threads use it
// at once.
class SteadyMeter : public Meter {
 public:
  SteadyMeter(bool counts, bool tells_power, double period)
      : counts_(counts), tells_power_(tells_power) {
    facts_.name = "steady";
    facts_.period_seconds = period;
  }
  const MeterFacts& facts() const override { return facts_; }
  Reading read() override {
    const Alone alone(*this);
    ++reads;
    if (before_read) before_read();
    Reading reading{.seconds = now_seconds()};
    const double period = true_period > 0 ? true_period : facts_.period_seconds;
    if (counts_ && !stuck) told_ = std::floor((reading.seconds - begin_) / period) * period * 100;
    if (counts_) reading.joules = told_;
    if (tells_power_) reading.watts = stuck ? 100 + reads % 2 : 100;
    return reading;
  }
  bool integrates() const override { return integrating; }
  void start() override {
    const Alone alone(*this);
    if (before_start) before_start();
    started_ = now_seconds();
  }
  double stop() override {
    const Alone alone(*this);
    return 100 * (now_seconds() - started_);
  }

  bool integrating = false;
  double true_period = 0;  // where it is not the one that is told
  std::atomic<bool> stuck = false;
  std::atomic<int> reads = 0, clashes = 0;
  std::function<void()> before_read, before_start;

 private:
  struct Alone {
    explicit Alone(SteadyMeter& of) : meter(of) { meter.clashes += meter.users_++ > 0 ? 1 : 0; }
    ~Alone() { --meter.users_; }
    SteadyMeter& meter;
  };
  bool counts_, tells_power_;
  MeterFacts facts_;
  double begin_ = now_seconds(), told_ = 0, started_ = 0;
  std::atomic<int> users_ = 0;
};

void expect_windows(const Recorder& recorder, std::size_t count, bool tells_power_too) {
  ASSERT_EQ(recorder.windows().size(), count);
  double last = 0;
  for (const WindowEnergy& window : recorder.windows()) {
    EXPECT_GE(window.begin, last);
    EXPECT_GT(window.end, window.begin);
    EXPECT_NEAR(window.joules, 100 * (window.end - window.begin), window.uncertainty_joules + 1e-9);
    EXPECT_EQ(window.power_joules.has_value(), tells_power_too);
    last = window.end;
  }
  EXPECT_GE(recorder.trace().back().seconds, last);
  EXPECT_LE(recorder.trace().front().seconds, recorder.windows().front().begin);
}

TEST(Recorder, WindowsOfACounterOneAfterTheOther) {
  SteadyMeter meter(true, false, 0.01);
  Recorder recorder(meter);
  for (int i = 0; i < 4; ++i) {
    recorder.open();
    wait(0.03);
    recorder.close();
  }
  recorder.finish();
  expect_windows(recorder, 4, false);
  recorder.finish();  // does no harm
  expect_windows(recorder, 4, false);
  for (std::size_t i = 1; i < recorder.trace().size(); ++i)
    EXPECT_GT(*recorder.trace()[i].joules, *recorder.trace()[i - 1].joules)
        << "a repeated value was kept";
}

TEST(Recorder, PowerThatNeverChangesIsNewNevertheless) {
  SteadyMeter meter(false, true, 0.01);
  Recorder recorder(meter);
  recorder.open();
  wait(0.05);
  recorder.close();
  recorder.finish();
  expect_windows(recorder, 1, false);
  EXPECT_NEAR(recorder.windows()[0].uncertainty_joules, 0, 1e-9);
}

TEST(Recorder, CounterAndPowerAreBothRecorded) {
  SteadyMeter meter(true, true, 0.01);
  Recorder recorder(meter);
  recorder.open();
  wait(0.05);
  recorder.close();
  recorder.finish();
  expect_windows(recorder, 1, true);
  const WindowEnergy& window = recorder.windows()[0];
  EXPECT_NEAR(*window.power_joules, 100 * (window.end - window.begin), 1e-6);
}

TEST(Recorder, WithoutWindowsThereIsNothing) {
  SteadyMeter meter(true, false, 0.01);
  Recorder recorder(meter);
  recorder.finish();
  EXPECT_TRUE(recorder.windows().empty());
}

TEST(Recorder, IsLeftWithoutFinish) {
  SteadyMeter meter(true, false, 0.01);
  Recorder recorder(meter);
  recorder.open();
}

TEST(Recorder, AMeterThatIntegratesIsStartedAndStoppedByTheOneThreadThatReadsIt) {
  SteadyMeter meter(false, true, 0.01);
  meter.integrating = true;
  const auto here = std::this_thread::get_id();
  std::atomic<int> elsewhere = 0, starts = 0;
  meter.before_start = [&] {
    ++starts;
    elsewhere += std::this_thread::get_id() != here ? 1 : 0;
  };
  Recorder recorder(meter);
  for (int i = 0; i < 5; ++i) {
    recorder.open();
    wait(0.03);
    recorder.close();
  }
  recorder.finish();
  EXPECT_EQ(starts, 5);
  EXPECT_EQ(elsewhere, 5);
  EXPECT_EQ(meter.clashes, 0);
  expect_windows(recorder, 5, true);
  for (const WindowEnergy& window : recorder.windows())  // a period at each edge
    EXPECT_NEAR(window.uncertainty_joules, 2 * 0.01 * 100, 1e-6);
}

Error error_of(const std::function<void()>& work) {
  try {
    work();
  } catch (const Error& error) {
    return error;
  }
  return Error("none", "", "");
}

TEST(Recorder, AnErrorOfTheMeterReachesWhoeverAsksNext) {
  for (const int calls : {0, 1, 2}) {  // open, close or finish
    SteadyMeter meter(true, false, 0.005);
    std::atomic<bool> broken = calls == 0, has_failed = false;
    meter.before_read = [&] {
      if (!broken) return;
      has_failed = true;
      throw Error("meter steady", "a reading", "smoke", "water");
    };
    Recorder recorder(meter);
    if (calls > 0) recorder.open();
    if (calls > 1) recorder.close();
    broken = true;
    if (calls == 1) {
      while (!has_failed) std::this_thread::yield();
      wait(0.01);
    }
    const Error error = error_of([&] {
      if (calls == 0) recorder.open();
      if (calls == 1) recorder.close();
      recorder.finish();
    });
    EXPECT_EQ(error.got(), "smoke") << calls;
    EXPECT_EQ(error_of([&] { recorder.finish(); }).got(), "smoke") << "and again";
  }
}

TEST(Recorder, AnErrorAtTheStartOfIntegrationReachesOpen) {
  SteadyMeter meter(false, true, 0.01);
  meter.integrating = true;
  meter.before_start = [] { throw std::runtime_error("a cable"); };
  Recorder recorder(meter);
  EXPECT_EQ(error_of([&] { recorder.open(); }).got(), "a cable");
}

TEST(Recorder, AMeterThatIsStuckIsAnErrorAndNotZeroJoules) {
  for (const bool tells_power :
       {false, true}) {  // which changes, and is no sign that the counter lives
    SteadyMeter meter(true, tells_power, 0.01);
    Recorder recorder(meter);
    recorder.open();
    wait(0.03);
    meter.stuck = true;
    recorder.close();
    const Error error = error_of([&] { recorder.finish(); });
    EXPECT_EQ(error.where(), "meter steady");
    EXPECT_EQ(error.expected(), "a new value after the window's end");
  }
}

// As on a machine that stood still: longer than a meter is waited for, nobody asked this one.
TEST(Recorder, AMeterThatWasAskedLateIsNotTakenForAStuckOne) {
  SteadyMeter meter(true, false, 0.01);
  std::atomic<bool> stands_still = false;
  meter.before_read = [&] {
    if (stands_still.exchange(false)) wait(2.5);
  };
  Recorder recorder(meter);
  recorder.open();
  wait(0.05);
  stands_still = true;
  while (stands_still) std::this_thread::yield();
  recorder.close();
  recorder.finish();
  expect_windows(recorder, 1, false);
}

TEST(Recorder, ASourceThatIsSlowerThanItsPeriodIsWaitedFor) {
  SteadyMeter meter(true, false, 0.01);
  meter.true_period = 2.3;
  Recorder recorder(meter);
  recorder.open();
  wait(2.35);  // the next value comes later than a meter of its period would be waited for
  recorder.close();
  recorder.finish();
  ASSERT_EQ(recorder.windows().size(), 1U);
  const WindowEnergy& window = recorder.windows()[0];
  EXPECT_NEAR(window.joules, 100 * (window.end - window.begin), window.uncertainty_joules + 1e-9);
}

TEST(Recorder, ReadsTwiceEachPeriodAndNotMoreThanNeeded) {
  SteadyMeter meter(true, false, 0.03);
  const double begin = now_seconds();
  {
    Recorder recorder(meter);
    wait(0.2);
    recorder.finish();
  }
  const double took = now_seconds() - begin;
  EXPECT_LE(meter.reads, took / 0.01 + 2);  // a third of a period apart, however slow this machine is
}

}  // namespace
}  // namespace maru::measure
