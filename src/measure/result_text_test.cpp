#include "measure/result_text.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <limits>

#include "measure/test_result.h"

namespace maru::measure {
namespace {

void expect_in(const std::string& text, const std::vector<std::string>& parts) {
  for (const std::string& part : parts)
    EXPECT_NE(text.find(part), std::string::npos) << part << "\nin\n" << text;
}

TEST(ResultText, FiguresHaveFourDigitsThatCount) {
  EXPECT_EQ(figure(16.8765), "16.88");
  EXPECT_EQ(figure(0.0001234567), "0.0001235");
  EXPECT_EQ(figure(123456.7), "123457");
  EXPECT_EQ(figure(-1.5), "-1.500");
  EXPECT_EQ(figure(0), "0");
  EXPECT_EQ(figure(std::numeric_limits<double>::infinity()), "n/a");
  EXPECT_EQ(figure(Interval{0.5, 0.25, 0.75}, 1000), "500.0 (250.0 to 750.0)");
  EXPECT_EQ(figure(Interval{0.5, 0, std::numeric_limits<double>::infinity()}), "0.5000");
}

TEST(ResultText, SaysAllThatOneMustKnow) {
  expect_in(text_of(test_result()), {"A processor, 4 cores, 8.0 GB; A GPU, driver 580; A board",
                                     "governor performance",
                                     "throttled by thermal",
                                     "opencl: a GPU; driver 1",
                                     "net (models/net), input 2x3x224x224, fp32, batch 2",
                                     "crc32 0badcafe",
                                     "ABBA BAAB ABBA (A copy, B zero-copy)",
                                     "at least 100 runs of each way",
                                     "blocks of at least 10.00 s",
                                     "jetson: VDD_IN of ina3221; boundary module, measured",
                                     "new every 100.0 ms, in steps of 1.000 mW; does not see the fan",
                                     "idle takes 4.000 W",
                                     "auto is left out",
                                     "zero-copy / copy  0.8",
                                     "526,416",
                                     "170.0 (160.0 to 190.0)",
                                     "97.0 MB",
                                     "tabby cat 0.2500",
                                     "drift    UNSTABLE: throttled",
                                     "Measure again"});
}

TEST(ResultText, WithoutAMeterEnergyIsNotThere) {
  BenchResult result = test_result();
  result.meter.reset();
  result.idle_watts.reset();
  for (Block& block : result.blocks) block.joules.reset();
  for (WayResult& way : result.ways) way.joules = way.joules_net = std::nullopt;
  result.meter_absences = {{"rapl", "/sys/class/powercap is not readable", "sudo chmod a+r ..."}};
  summarise(result);
  const std::string text = text_of(result);
  expect_in(text, {"none: energy is n/a", "rapl: /sys/class/powercap is not readable; try sudo chmod"});
  EXPECT_NE(text.find("gross (95 %)"), std::string::npos);
  EXPECT_EQ(text.find(" W"), std::string::npos);
  expect_in(paper_of(result), {"n/a", "Energy is n/a"});
  expect_in(csv_of(result), {",17,,"});
}

TEST(ResultText, FewBlocksAreSaidToBe) {
  EXPECT_NE(text_of(test_result(4)).find("fewer than 6 blocks"), std::string::npos);
  EXPECT_EQ(text_of(test_result(6)).find("fewer than 6 blocks"), std::string::npos);
}

TEST(ResultText, MarkdownIsTables) {
  const std::string text = markdown_of(test_result());
  expect_in(text, {"|  | copy | zero-copy |", "|---|---:|---:|", "| zero-copy / copy | 0.8",
                   "`maru bench --model net"});
}

// Of a batch of two: 10.5 ms a run are 5.25 ms an image, and 0.0525 J are 0.01458 mWh.
TEST(ResultText, ThePapersOwnTable) {
  const std::string text = paper_of(test_result());
  expect_in(text, {"mean of 102 runs", "time, ms an image       5.248", "19.9 %",
                   "energy, mWh an image  0.01458", "460", "410", "10.9 %", "0.58", "0.37", "36.2 %",
                   "########"});
}

TEST(ResultText, ThePapersTableIsOfTwoWays) {
  BenchResult result = test_result();
  expect_in(paper_of(result),
            {"zero-copy / copy, time: 0.8", "UNSTABLE", "does not see the fan", "at the wall"});
  result.ways[0].name = "auto";  // auto, zero-copy
  expect_in(paper_of(result), {"zero-copy / auto, time: 0.8"});
  result.ways[1].name = "copy";  // auto, copy
  expect_in(paper_of(result), {"auto / copy, time: 1.2"});
  result.ways[0].name = "zero-copy";
  result.ways[1].name = "auto";
  expect_in(paper_of(result), {"auto / zero-copy, time: 0.8"});
  for (Block& block : result.blocks) block.seconds.assign(2, block.begin + 1);
  expect_in(paper_of(result), {"no difference shown"});
}

TEST(ResultText, AnOddRoundIsSaidToBe) {
  EXPECT_NE(text_of(test_result(7)).find("odd number of blocks"), std::string::npos);
  EXPECT_EQ(text_of(test_result(6)).find("odd number of blocks"), std::string::npos);
}

TEST(ResultText, CsvHasALineARun) {
  const std::string text = csv_of(test_result());
  EXPECT_EQ(std::ranges::count(text, '\n'), 1 + 12 * 17);
  const auto first = text.substr(0, text.find('\n'));
  const auto second =
      text.substr(first.size() + 1, text.find('\n', first.size() + 1) - first.size() - 1);
  EXPECT_EQ(std::ranges::count(first, ','), std::ranges::count(second, ','));
  EXPECT_EQ(second.substr(0, 12), "0,copy,0,0.0");
}

}  // namespace
}  // namespace maru::measure
