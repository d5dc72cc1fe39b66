#include "measure/comparison.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <random>

#include "measure/summary.h"

namespace maru::measure {
namespace {

// Ways that take the time that the test says, by a clock of its own, and a meter of so many watts.
class Bench : public ::testing::Test {
 protected:
  Surroundings around() {
    Surroundings s;
    s.now = [this] { return clock_; };
    s.sleep = [this](double seconds) {
      energy_ += 10 * seconds;
      clock_ += seconds;
      log_ += 's';
    };
    s.open = [this] {
      open_ = energy_;
      log_ += '(';
    };
    s.close = [this] {
      joules_.push_back(energy_ - open_);
      log_ += ')';
    };
    s.state = [this] { return state_; };
    return s;
  }
  Way way(std::string name, double seconds, double watts = 20) {
    return {std::move(name), [this, seconds, watts] {
              const double took = seconds * (1 + drift_ * clock_ + noise_ * normal_(random_));
              clock_ += took;
              energy_ += watts * took;
              ++runs_;
            }};
  }
  BenchResult result_of(const std::vector<Way>& ways, const ComparisonOptions& options) {
    BenchResult result;
    const Timeline line = compare(ways, options, around());
    result.blocks = line.blocks;
    result.method.order = line.order;
    result.machine.cores = 4;
    for (const Way& one : ways) result.ways.emplace_back().name = one.name;
    const std::size_t first = options.idle_seconds > 0 ? 1 : 0;
    if (first == 1) result.idle_watts = joules_[0] / options.idle_seconds;
    for (std::size_t i = 0; i < result.blocks.size(); ++i) result.blocks[i].joules = joules_[first + i];
    summarise(result);
    return result;
  }

  double clock_ = 1000, energy_ = 0, open_ = 0, drift_ = 0, noise_ = 0;
  std::vector<double> joules_;
  std::uint64_t runs_ = 0;
  std::string log_;
  MachineState state_;
  std::mt19937 random_{7};
  std::normal_distribution<double> normal_;
};

std::string sorted(std::string text) {
  std::ranges::sort(text);
  return text;
}

TEST_F(Bench, TwoWaysGoABBAOrBAAB) {
  bool seen[2] = {};
  for (std::uint64_t seed = 0; seed < 8; ++seed) {
    ComparisonOptions options;
    options.seed = seed;
    const Timeline line = compare({way("a", 1), way("b", 1)}, options, around());
    ASSERT_EQ(line.order.size(), 14U);
    for (std::size_t i = 0; i < 14; i += 5) {
      const std::string four = line.order.substr(i, 4);
      EXPECT_TRUE(four == "ABBA" || four == "BAAB") << four;
      seen[four == "BAAB"] = true;
    }
    EXPECT_EQ(line.order, compare({way("a", 1), way("b", 1)}, options, around()).order);
  }
  EXPECT_TRUE(seen[0] && seen[1]);
}

TEST_F(Bench, ThreeWaysGoThereAndBack) {
  ComparisonOptions options;
  options.blocks = 4;
  const Timeline line = compare({way("a", 1), way("b", 1), way("c", 1)}, options, around());
  ASSERT_EQ(line.order.size(), 13U);
  for (const std::size_t i : {0, 7}) {
    std::string there = line.order.substr(i, 3), back = line.order.substr(i + 3, 3);
    EXPECT_EQ(sorted(there), "ABC");
    std::ranges::reverse(back);
    EXPECT_EQ(there, back);
  }
}

TEST_F(Bench, AtLeastAsManyRunsAsAskedForAndAsLongAsTheMeterNeeds) {
  ComparisonOptions options;
  options.images = 100;
  options.warmup = 3;
  Timeline line = compare({way("a", 0.1)}, options, around());
  EXPECT_EQ(line.order, "AA AA AA");
  EXPECT_EQ(line.blocks[0].runs, 17U);
  EXPECT_EQ(runs_, 3 + 6 * 17U);
  EXPECT_EQ(line.blocks[0].begin, 0);
  EXPECT_NEAR(line.blocks[0].end, 1.7, 1e-9);
  EXPECT_EQ(line.blocks[1].begin, line.blocks[0].end);
  options.block_seconds = 10;
  line = compare({way("a", 0.1)}, options, around());
  EXPECT_GE(line.blocks[0].runs, 99U);
  EXPECT_GE(line.blocks[0].end - line.blocks[0].begin, 10);
}

TEST_F(Bench, LongBlocksKeepAnEvenSample) {
  ComparisonOptions options;
  options.images = 45000;
  options.blocks = 1;
  options.warmup = 0;
  drift_ = 1e-3;
  const Timeline line = compare({way("a", 0.01)}, options, around());
  const Block& block = line.blocks[0];
  EXPECT_EQ(block.runs, 45000U);
  EXPECT_LE(block.seconds.size(), 10000U);
  EXPECT_GE(block.seconds.size(), 5000U);
  double sum = 0;
  for (const double seconds : block.seconds) sum += seconds;
  EXPECT_NEAR(sum / static_cast<double>(block.seconds.size()), block.sum / 45000,
              1e-3 * block.sum / 45000);
  EXPECT_LE(block.min, block.seconds.front());
  EXPECT_GE(block.max, block.seconds.back());
}

TEST_F(Bench, WindowsAreAroundIdlingAndEachBlock) {
  ComparisonOptions options;
  options.blocks = 2;
  options.idle_seconds = 5;
  options.settle_seconds = 2;
  compare({way("a", 1), way("b", 1)}, options, around());
  EXPECT_EQ(log_, "s(s)()()()()");
}

TEST_F(Bench, EnergyIsOfAnImageGrossAndNet) {
  ComparisonOptions options;
  options.idle_seconds = 5;
  const BenchResult result = result_of({way("a", 0.5, 30), way("b", 0.25, 30)}, options);
  EXPECT_NEAR(result.idle_watts.value_or(0), 10, 1e-9);
  EXPECT_NEAR(result.ways[0].joules.value_or(Interval{}).value, 15, 1e-9);
  EXPECT_NEAR(result.ways[0].joules_net.value_or(Interval{}).value, 10, 1e-9);
  ASSERT_EQ(result.ratios.size(), 1U);
  EXPECT_NEAR(result.ratios[0].seconds.value, 0.5, 1e-9);
  EXPECT_NEAR(result.ratios[0].joules.value_or(Interval{}).value, 0.5, 1e-9);
  EXPECT_NEAR(result.ways[1].median.value, 0.25, 1e-9);
  EXPECT_NEAR(result.ways[1].mean, 0.25, 1e-9);
}

TEST_F(Bench, OneBlockWithoutEnergyIsNoEnergy) {
  BenchResult result = result_of({way("a", 0.5), way("b", 0.5)}, {});
  result.blocks[3].joules.reset();
  result.ways = {WayResult{}, WayResult{}};
  summarise(result);
  EXPECT_NE(result.ways[0].joules.has_value(), result.ways[1].joules.has_value());
  EXPECT_FALSE(result.ratios[0].joules);
}

TEST_F(Bench, EvenAndNoisyBlocksAreStable) {
  noise_ = 0.03;
  int unstable = 0;
  for (std::uint64_t seed = 0; seed < 100; ++seed) {
    ComparisonOptions options;
    options.seed = seed;
    joules_.clear();
    unstable += drift_check(result_of({way("a", 0.5), way("b", 0.4)}, options)).verdict !=
                Check::Verdict::passed;
  }
  EXPECT_LE(unstable, 4);  // one of a hundred by chance
}

TEST_F(Bench, ASlopeIsUnstableAndNotInTheRatio) {
  noise_ = 0.005;
  drift_ = 5e-4;  // of 100 seconds
  const BenchResult result = result_of({way("a", 0.5), way("b", 0.4)}, {});
  const Check check = drift_check(result);
  EXPECT_EQ(check.verdict, Check::Verdict::unstable);
  EXPECT_NE(check.text.find("slower by"), std::string::npos) << check.text;
  EXPECT_LE(result.ratios[0].seconds.low, 0.8);
  EXPECT_GE(result.ratios[0].seconds.high, 0.8);
}

TEST_F(Bench, ThrottlingClocksAndOthersAreUnstable) {
  BenchResult result = result_of({way("a", 0.5), way("b", 0.4)}, {});
  result.blocks[2].state.throttled_by = {"thermal"};
  for (Block& block : result.blocks) {
    block.state.gpu_hz = block.way == 0 ? 1e9 : 1.1e9;
    block.state.load = 0.8;
  }
  const std::string text = drift_check(result).text;
  EXPECT_NE(text.find("throttled (thermal) at 1 of 12"), std::string::npos) << text;
  EXPECT_NE(text.find("the GPU's clock was 1000 MHz"), std::string::npos) << text;
  EXPECT_NE(text.find("0.8 of 4 cores"), std::string::npos) << text;
}

TEST_F(Bench, ChecksClaimOnlyWhatTheyLookedAt) {
  BenchResult result = result_of({way("a", 0.5), way("b", 0.4)}, {});
  result.device = "cuda";
  for (Block& block : result.blocks) block.state = {};
  Check check = drift_check(result);
  EXPECT_EQ(check.verdict, Check::Verdict::passed);
  EXPECT_EQ(check.text.find("throttling of the CPU seen"), std::string::npos) << check.text;
  EXPECT_EQ(check.text.find("within 5 %"), std::string::npos) << check.text;
  for (const char* part : {"no slope", "not told: throttling of the CPU, throttling of the GPU",
                           "the CPU's clock", "the GPU's clock", "the load by other programs"})
    EXPECT_NE(check.text.find(part), std::string::npos) << part << " in " << check.text;

  for (Block& block : result.blocks)
    block.state = {.cpu_hz = 2e9,
                   .gpu_hz = {},
                   .celsius = {},
                   .throttled_by = {},
                   .load = 0.1,
                   .tells_throttling = true};
  check = drift_check(result);
  for (const char* part : {"no throttling of the CPU seen", "the CPU's clocks of the ways within 5 %",
                           "kept 0.1 of 4 cores", "not told: throttling of the GPU, the GPU's clock"})
    EXPECT_NE(check.text.find(part), std::string::npos) << part << " in " << check.text;
  result.device = "cpu";
  EXPECT_EQ(drift_check(result).text.find("not told"), std::string::npos) << drift_check(result).text;

  ComparisonOptions few;
  few.blocks = 1;
  result = result_of({way("a", 0.5), way("b", 0.4)}, few);
  check = drift_check(result);
  EXPECT_EQ(check.text.find("no slope"), std::string::npos) << check.text;
  EXPECT_NE(check.text.find("a slope (too few blocks)"), std::string::npos) << check.text;
}

TEST_F(Bench, WhatAWayThrowsEndsIt) {
  const Way broken{"b", [] { throw std::runtime_error("gone"); }};
  EXPECT_THROW(compare({way("a", 1), broken}, {}, around()), std::runtime_error);
}

TEST(BlockSeconds, AHundredPeriodsWithinReason) {
  MeterFacts facts;
  facts.period_seconds = 0.1;
  EXPECT_DOUBLE_EQ(block_seconds_for(facts), 10);
  facts.period_seconds = 0.001;
  EXPECT_DOUBLE_EQ(block_seconds_for(facts), 0.1);
  facts.period_seconds = 0;
  EXPECT_EQ(block_seconds_for(facts), 0);
  facts.period_seconds = 1;
  EXPECT_EQ(block_seconds_for(facts), 30);
}

}  // namespace
}  // namespace maru::measure
