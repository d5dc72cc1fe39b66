// What --meter takes, which meter is found by itself, and what is said where there is none.
#include "measure/meter.h"

#include <gtest/gtest.h>
#include <maru/error.h>

#include <cmath>

#include "measure/meters/test_tree.h"
#include "measure/nvml.h"
#include "tests/paths.h"

namespace maru::measure {
namespace {

std::string absence_of(const std::vector<MeterAbsence>& absences, std::string_view name) {
  for (const MeterAbsence& absence : absences)
    if (absence.name == name) return absence.why + "; " + absence.remedy;
  return "none";
}

TEST(OpenMeter, NoneIsNothingAtAll) {
  std::vector<MeterAbsence> absences;
  EXPECT_EQ(open_meter("none", {}, absences), nullptr);
  EXPECT_TRUE(absences.empty());
}

TEST(OpenMeter, OtherSpecsAreRefused) {
  std::vector<MeterAbsence> absences;
  for (const std::string spec : {"", "nvlm", "nvml:0", "auto:x", "rapl:", ":", "NVML"})
    EXPECT_NE(error_of([&] { open_meter(spec, {}, absences); }).find("[--meter] expected auto, none"),
              std::string::npos)
        << spec;
  EXPECT_NE(error_of([&] { open_meter("wt310e:", {}, absences); }).find("no address"),
            std::string::npos);
  EXPECT_NE(error_of([&] { open_meter("wt310e", {}, absences); }).find("no address"),
            std::string::npos);
  EXPECT_NE(error_of([&] { open_meter("command:", {}, absences); }).find("no program"),
            std::string::npos);
  EXPECT_NE(error_of([&] { open_meter("wt310e:tcp://host", {}, absences); }).find("HOST:PORT"),
            std::string::npos);
}

TEST(OpenMeter, WhereNothingMeasuresEachIsNamedWithItsRemedy) {
  const TestTree tree;
  MeterOptions options{.root = tree.root()};
  std::vector<MeterAbsence> absences;
  EXPECT_EQ(open_meter("auto", options, absences), nullptr);
  EXPECT_NE(absence_of(absences, "nvml").find("none does the work"), std::string::npos);
  EXPECT_NE(absence_of(absences, "jetson").find("an NVIDIA Jetson board"), std::string::npos);
  EXPECT_NE(absence_of(absences, "pi5").find("a Raspberry Pi 5"), std::string::npos);
  EXPECT_NE(absence_of(absences, "rapl").find("sudo modprobe intel_rapl_msr"), std::string::npos);
  EXPECT_NE(absence_of(absences, "wt310e").find("--meter wt310e:ADDRESS"), std::string::npos);
}

TEST(OpenMeter, AutoTakesWhatSeesTheDeviceThatWorks) {
  TestTree tree;
  tree.add_package(0, 1000);
  MeterOptions options{.root = tree.root(), .nvml = maru::testing::fake_nvml()};
  std::vector<MeterAbsence> absences;
  EXPECT_EQ(open_meter("auto", options, absences)->facts().name, "rapl");
  EXPECT_EQ(absences.size(), 3);
  options.gpu = 0;
  absences.clear();
  EXPECT_EQ(open_meter("auto", options, absences)->facts().name, "nvml");
  EXPECT_TRUE(absences.empty());
  options.nvml = "libnot-there.so";  // the processor's counters do not see the card
  EXPECT_EQ(open_meter("auto", options, absences), nullptr);
  EXPECT_NE(absence_of(absences, "nvml").find("libnot-there.so"), std::string::npos);
  EXPECT_NE(absence_of(absences, "nvml").find("nvidia-smi"), std::string::npos);
  EXPECT_NE(absence_of(absences, "rapl").find("does not see the GPU"), std::string::npos);
}

TEST(OpenMeter, AutoTakesNoMeterOfTheProcessorForACard) {
  TestTree tree;
  tree.add_package(0, 1000);
  for (const Worker worker : {Worker::card, Worker::unknown}) {
    std::vector<MeterAbsence> absences;
    const MeterOptions options{
        .worker = worker, .root = tree.root(), .nvml = maru::testing::fake_nvml()};
    EXPECT_EQ(open_meter("auto", options, absences), nullptr);
    EXPECT_NE(absence_of(absences, "rapl")
                  .find(worker == Worker::card ? "does not see the card" : "cannot be told"),
              std::string::npos);
    EXPECT_NE(absence_of(absences, "nvml").find("only of --device cuda"), std::string::npos);
    EXPECT_EQ(open_meter("rapl", options, absences)->facts().name, "rapl") << "when it is named";
  }
  std::vector<MeterAbsence> absences;
  const MeterOptions options{.worker = Worker::integrated_gpu, .root = tree.root()};
  EXPECT_EQ(open_meter("auto", options, absences)->facts().name, "rapl") << "it is in the package";
}

TEST(Nvml, TellsWhatTheLibraryTells) {
  std::string why;
  const auto nvml = Nvml::open(0, maru::testing::fake_nvml(), why);
  ASSERT_NE(nvml, nullptr) << why;
  EXPECT_EQ(nvml->name(), "NVIDIA Test");
  EXPECT_EQ(nvml->driver(), "999.1");
  EXPECT_GT(nvml->joules(), 5000);
  EXPECT_EQ(nvml->watts(), 251);  // now, not averaged
  EXPECT_EQ(nvml->used_bytes(), 30);
  EXPECT_EQ(nvml->clock_hz(), 1.98e9);
  EXPECT_EQ(nvml->celsius(), 61);
  EXPECT_TRUE(nvml->throttled_by().empty());
  const Variable no_instant("FAKE_NVML_NO_INSTANT", "1");
  EXPECT_EQ(nvml->watts(), 240);
}

TEST(Nvml, OldLibrariesTellLessAndNeverZero) {
  std::string why;
  const auto nvml = Nvml::open(0, maru::testing::fake_old_nvml(), why);
  ASSERT_NE(nvml, nullptr) << why;
  EXPECT_EQ(nvml->watts(), 240);
  EXPECT_EQ(nvml->driver(), "");
  EXPECT_FALSE(nvml->joules() || nvml->used_bytes() || nvml->clock_hz() || nvml->celsius());
  EXPECT_TRUE(nvml->throttled_by().empty());
}

TEST(Nvml, SaysWhyItIsNotThere) {
  std::string why;
  EXPECT_EQ(Nvml::open(0, "libnot-there.so", why), nullptr);
  EXPECT_NE(why.find("libnot-there.so"), std::string::npos);
  EXPECT_EQ(Nvml::open(3, maru::testing::fake_nvml(), why), nullptr);
  EXPECT_NE(why.find("no GPU 3"), std::string::npos);
  EXPECT_NE(Nvml::open(0, maru::testing::fake_nvml(), why, "NVIDIA Test"), nullptr);
  EXPECT_NE(Nvml::open(0, maru::testing::fake_nvml(), why, "NVIDIA Test MIG 1g.18gb"), nullptr);
  EXPECT_EQ(Nvml::open(0, maru::testing::fake_nvml(), why, "NVIDIA Tester"), nullptr);
  EXPECT_NE(why.find("CUDA_DEVICE_ORDER=PCI_BUS_ID"), std::string::npos);
  const Variable no_driver("FAKE_NVML_NO_DRIVER", "1");
  EXPECT_EQ(Nvml::open(0, maru::testing::fake_nvml(), why), nullptr);
  EXPECT_NE(why.find("status 9"), std::string::npos);
}

TEST(Nvml, IdlingAndChosenClocksAreNoThrottling) {
  using Reasons = std::vector<std::string>;
  std::string why;
  const auto nvml = Nvml::open(0, maru::testing::fake_nvml(), why);
  ASSERT_NE(nvml, nullptr);
  const std::pair<const char*, Reasons> cases[] = {
      {"0x1", {}},           {"0x113", {}},
      {"0x4", {"power"}},    {"0x88", {"power"}},
      {"0x21", {"thermal"}}, {"0x48", {"thermal"}},
      {"0x8", {"hardware"}}, {"0xee", {"thermal", "power"}}};
  for (const auto& [bits, reasons] : cases) {
    const Variable set("FAKE_NVML_REASONS", bits);
    EXPECT_EQ(nvml->throttled_by(), reasons) << bits;
  }
}

TEST(NvmlMeter, RecordsCounterAndPowerAndProbesItsPeriod) {
  std::vector<MeterAbsence> absences;
  const auto meter = open_meter("nvml", {.nvml = maru::testing::fake_nvml()}, absences);
  const MeterFacts& facts = meter->facts();
  EXPECT_EQ(facts.source, "energy counter of GPU 0, NVIDIA Test, driver 999.1");
  EXPECT_EQ(to_string(facts.boundary), "board");
  EXPECT_EQ(to_string(facts.grade), "measured");
  EXPECT_EQ(facts.blind, "the CPU and its memory");
  EXPECT_EQ(facts.resolution_joules, 1e-3);
  EXPECT_GE(facts.period_seconds, 0.015);  // of 0.02: never seen faster, slower where this machine is
  EXPECT_LE(facts.period_seconds, 0.5);
  const Reading first = meter->read();
  EXPECT_EQ(first.watts, 251);
  ASSERT_TRUE(first.joules);
  EXPECT_LT(*first.joules, 5000) << "counted since the driver was loaded, not since it was opened";
  Reading later = first;
  while (*later.joules == *first.joules) later = meter->read();
  EXPECT_NEAR(std::fmod(*later.joules - *first.joules, 5.0), 0, 1e-6);
}

TEST(NvmlMeter, WithoutACounterItRecordsPower) {
  std::vector<MeterAbsence> absences;
  const auto meter = open_meter("nvml", {.nvml = maru::testing::fake_old_nvml()}, absences);
  EXPECT_EQ(meter->facts().resolution_joules, 0);
  EXPECT_NE(meter->facts().source.find("its period is assumed"), std::string::npos);
  EXPECT_FALSE(meter->read().joules);
  EXPECT_EQ(meter->read().watts, 240);
  const Variable no_power("FAKE_NVML_NO_POWER", "1");
  EXPECT_NE(error_of([&] { meter->read(); }).find("none any more"), std::string::npos);
  EXPECT_NE(error_of([&] {
              open_meter("nvml", {.nvml = maru::testing::fake_old_nvml()}, absences);
            }).find("neither"),
            std::string::npos);
}

TEST(NvmlMeter, ACounterThatIsSetBackOrStands) {
  std::vector<MeterAbsence> absences;
  const auto meter = open_meter("nvml", {.nvml = maru::testing::fake_nvml()}, absences);
  {
    const Variable reset("FAKE_NVML_RESET", "1");
    EXPECT_NE(error_of([&] { meter->read(); }).find("one that was set back"), std::string::npos);
  }
  {
    const Variable gone("FAKE_NVML_NO_COUNTER", "1");
    EXPECT_NE(error_of([&] { meter->read(); }).find("none any more"), std::string::npos);
  }
  const Variable stuck("FAKE_NVML_STUCK", "1");
  const auto standing = open_meter("nvml", {.nvml = maru::testing::fake_nvml()}, absences);
  EXPECT_NE(standing->facts().source.find("its period is assumed"), std::string::npos);
  EXPECT_EQ(standing->facts().period_seconds, 0.1);
}

TEST(CommandMeter, CountsWhatTheProgramPrints) {
  TestTree tree;
  tree.write("joules", "1000.25");
  std::vector<MeterAbsence> absences;
  const std::string spec = "command:cat " + (tree.root() / "joules").string();
  const auto meter = open_meter(spec, {}, absences);
  EXPECT_EQ(meter->facts().resolution_joules, 0.01);
  EXPECT_NE(meter->facts().source.find("its period is assumed"), std::string::npos) << "it stands";
  EXPECT_EQ(to_string(meter->facts().boundary), "unknown");
  EXPECT_EQ(meter->read().joules, 0);
  tree.write("joules", " 1003.50\n");
  EXPECT_EQ(meter->read().joules, 3.25);
  tree.write("joules", "12 J");
  EXPECT_NE(error_of([&] { meter->read(); }).find("got '12 J'"), std::string::npos);
  tree.write("joules", "1003.4");
  EXPECT_NE(error_of([&] { meter->read(); }).find("1003.4 after 1003.5"), std::string::npos);
  for (const std::string text : {"", "nan", "inf", "1 2", "12,5"}) {
    tree.write("joules", text);
    EXPECT_NE(error_of([&] { meter->read(); }).find("got '" + text + "'"), std::string::npos) << text;
  }
  tree.remove("joules");
  EXPECT_NE(error_of([&] { meter->read(); }).find("status 1: cat:"), std::string::npos);
  EXPECT_NE(error_of([&] { open_meter("command:not-a-program", {}, absences); }).find("status 127"),
            std::string::npos);
}

TEST(CommandMeter, WatchesHowOftenItsValueChanges) {
  std::vector<MeterAbsence> absences;
  // Fifths of a second since the epoch. On a machine that stands still while it watches, once more.
  const auto watched = [&] {
    return open_meter("command:echo $(($(date +%s%N) / 200000000))", {}, absences);
  };
  const auto is_assumed = [](const Meter& meter) {
    return meter.facts().source.find("assumed") != std::string::npos;
  };
  auto meter = watched();
  for (int attempt = 1; attempt < 5 && is_assumed(*meter); ++attempt) meter = watched();
  EXPECT_FALSE(is_assumed(*meter)) << meter->facts().source;
  EXPECT_GE(meter->facts().period_seconds, 0.15);
}

}  // namespace
}  // namespace maru::measure
