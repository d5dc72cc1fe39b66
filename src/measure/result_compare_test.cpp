#include "measure/result_compare.h"

#include <gtest/gtest.h>

#include "measure/test_result.h"

namespace maru::measure {
namespace {

TEST(CompareResults, TheSameIsNeitherSlowerNorFaster) {
  const ResultComparison found = compare_results(test_result(), test_result());
  ASSERT_EQ(found.ways.size(), 2U);
  EXPECT_DOUBLE_EQ(found.ways[0].seconds.value, 1);
  EXPECT_LE(found.ways[0].seconds.low, 1);
  EXPECT_GE(found.ways[0].seconds.high, 1);
  EXPECT_FALSE(found.is_slower(1.05));
  EXPECT_EQ(found.warnings.size(), 2U);  // that both are unstable
}

TEST(CompareResults, SlowerIsSlower) {
  const ResultComparison found = compare_results(test_result(), test_result(6, 1.2));
  EXPECT_NEAR(found.ways[1].seconds.value, 1.2, 1e-9);
  EXPECT_NEAR(found.ways[1].joules.value_or(Interval{}).value, 1.2, 1e-9);
  EXPECT_TRUE(found.is_slower(1.05));
  EXPECT_FALSE(found.is_slower(1.25));
  EXPECT_FALSE(compare_results(test_result(6, 1.2), test_result()).is_slower(1.05));
}

TEST(CompareResults, WhatDiffersIsSaid) {
  BenchResult now = test_result();
  now.machine.cpu = "Another";
  now.model.crc32 = "12345678";
  now.model.precision = "fp16";
  now.meter.reset();
  std::string all;
  for (const std::string& warning : compare_results(test_result(), now).warnings) all += warning + "\n";
  for (const char* part : {"processor: A processor before, Another now", "crc32",
                           "precision: fp32 before, fp16 now", "meter"})
    EXPECT_NE(all.find(part), std::string::npos) << all;
}

TEST(CompareResults, WhatChangesTimesWithoutAnInputIsSaid) {
  BenchResult now = test_result();
  now.maru_version = "0.2.0";
  now.machine.driver = "590";
  now.command += " --tune --write-photo";
  now.checks.push_back({"outputs", Check::Verdict::failed, "they differ"});
  std::string all;
  for (const std::string& warning : compare_results(test_result(), now).warnings) all += warning + "\n";
  for (const char* part :
       {"maru: 0.1.0 before, 0.2.0 now", "driver: 580 before, 590 now", "--tune: no before, yes now",
        "--write-photo: no before, yes now", "of now FAILED its check of outputs: they differ"})
    EXPECT_NE(all.find(part), std::string::npos) << part << " in " << all;
}

TEST(CompareResults, WhatCannotBeToldIsNotTakenForGood) {
  BenchResult now = test_result();
  now.ways[1].name = "x";  // one that vanished
  EXPECT_TRUE(compare_results(test_result(), now).is_slower(1.05));
  EXPECT_FALSE(compare_results(test_result(), test_result()).is_slower(1.05));
  const ResultComparison single = compare_results(test_result(1), test_result(1));
  EXPECT_TRUE(single.is_slower(1.05)) << "there is no interval";
  EXPECT_NE(single.warnings.back().find("no interval"), std::string::npos);
}

TEST(CompareResults, AnotherBatchIsComparedByImage) {
  BenchResult now = test_result();
  now.model.batch = 1;
  EXPECT_NEAR(compare_results(test_result(), now).ways[0].seconds.value, 2, 1e-9);
}

TEST(CompareResults, NoWayInCommonIsAnError) {
  BenchResult now = test_result();
  now.ways[0].name = "x";
  EXPECT_EQ(compare_results(test_result(), now).ways.size(), 1U);
  now.ways[1].name = "y";
  EXPECT_THROW(compare_results(test_result(), now), Error);
}

}  // namespace
}  // namespace maru::measure
