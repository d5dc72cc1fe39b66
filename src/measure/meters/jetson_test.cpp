// Each board by a tree of files such as it has, and the Raspberry Pi 5 by a program such as it has.
#include <gtest/gtest.h>
#include <sys/stat.h>

#include <cmath>

#include "measure/meters/meters.h"
#include "measure/meters/test_tree.h"

namespace maru::measure {
namespace {

struct FakeRail {
  std::string label;
  int millivolts, milliamperes;
};

MeterOptions at(const TestTree& tree) { return {.root = tree.root()}; }

void add_board(TestTree& tree, const std::string& model, const std::string& compatible) {
  tree.write("proc/device-tree/model", model + std::string(1, '\0'));
  tree.write("proc/device-tree/compatible", compatible);
}

void add_hwmon(TestTree& tree, int number, const std::vector<FakeRail>& rails) {
  const std::filesystem::path folder = "sys/class/hwmon/hwmon" + std::to_string(number);
  tree.write(folder / "name", "ina3221\n");
  tree.write(folder / "update_interval", "7\n");
  for (std::size_t i = 0; i < rails.size(); ++i) {
    const std::string channel = std::to_string(i + 1);
    tree.write(folder / ("in" + channel + "_label"), rails[i].label + "\n");
    tree.write(folder / ("in" + channel + "_input"), std::to_string(rails[i].millivolts) + "\n");
    tree.write(folder / ("curr" + channel + "_input"), std::to_string(rails[i].milliamperes) + "\n");
    tree.write(folder / ("shunt" + channel + "_resistor"), "2000\n");
  }
  tree.write(folder / "in7_label", "sum of shunt voltages\n");
  tree.write(folder / "in7_input", "777\n");
  tree.write(folder / "curr4_input", "99999\n");
}

// NVIDIA's older driver; power in mW of its own.
void add_iio(TestTree& tree, const std::string& chip, int number, const std::vector<FakeRail>& rails) {
  const std::filesystem::path folder =
      "sys/bus/i2c/drivers/ina3221x/" + chip + "/iio:device" + std::to_string(number);
  for (std::size_t i = 0; i < rails.size(); ++i) {
    const std::string channel = std::to_string(i);
    tree.write(folder / ("rail_name_" + channel), rails[i].label + "\n");
    tree.write(folder / ("in_voltage" + channel + "_input"),
               std::to_string(rails[i].millivolts) + "\n");
    tree.write(folder / ("in_current" + channel + "_input"),
               std::to_string(rails[i].milliamperes) + "\n");
    tree.write(folder / ("in_power" + channel + "_input"),
               std::to_string(rails[i].millivolts * rails[i].milliamperes / 1000) + "\n");
  }
}

std::string text(std::initializer_list<std::string> strings) {  // as the device tree keeps several
  std::string all;
  for (const std::string& one : strings) all += one + std::string(1, '\0');
  return all;
}

TEST(JetsonMeter, OrinNanoIsWhatGoesIn) {
  TestTree tree;
  add_board(tree, "NVIDIA Jetson Orin Nano Developer Kit",
            text({"nvidia,p3768-0000+p3767-0005", "nvidia,p3767-0005", "nvidia,tegra234"}));
  add_hwmon(tree, 0, {{"VDD_IN", 5000, 1400}, {"VDD_CPU_GPU_CV", 5000, 600}, {"VDD_SOC", 5000, 300}});
  const auto meter = open_jetson(at(tree));
  EXPECT_DOUBLE_EQ(*meter->read().watts, 7);
  EXPECT_FALSE(meter->read().joules);
  const MeterFacts& facts = meter->facts();
  EXPECT_EQ(facts.source, "VDD_IN of Jetson Orin NX or Nano");
  EXPECT_EQ(to_string(facts.boundary), "module");
  EXPECT_EQ(to_string(facts.grade), "measured");
  EXPECT_NE(facts.blind.find("carrier"), std::string::npos);
  EXPECT_DOUBLE_EQ(facts.resolution_watts, 0.1);  // 40 uV at 2 mOhm, 5 V
  EXPECT_DOUBLE_EQ(facts.period_seconds, 0.05);
}

TEST(JetsonMeter, AgxOrinDoesNotCountItsMemoryTwice) {
  TestTree tree;
  add_board(tree, "NVIDIA Jetson AGX Orin Developer Kit",
            text({"nvidia,p3737-0000+p3701-0000", "nvidia,p3701-0000", "nvidia,tegra234"}));
  add_hwmon(tree, 3,
            {{"VDD_GPU_SOC", 20000, 160}, {"VDD_CPU_CV", 20000, 40}, {"VIN_SYS_5V0", 5000, 900}});
  add_hwmon(tree, 4, {{"NC", 0, 0}, {"VDDQ_VDD2_1V8AO", 5000, 240}, {"NC", 0, 0}});
  const auto meter = open_jetson(at(tree));
  EXPECT_DOUBLE_EQ(*meter->read().watts, 3.2 + 0.8 + 4.5);
  EXPECT_EQ(meter->facts().source, "VDD_GPU_SOC + VDD_CPU_CV + VIN_SYS_5V0 of Jetson AGX Orin");
  EXPECT_EQ(to_string(meter->facts().grade), "estimated");
  EXPECT_NEAR(meter->facts().resolution_watts, std::sqrt(0.4 * 0.4 * 2 + 0.1 * 0.1), 1e-12);
}

TEST(JetsonMeter, AgxXavierIsTheSumOfSixOnBothKindsOfDrivers) {
  const std::vector<FakeRail> first{{"GPU", 19000, 100}, {"CPU", 19000, 50}, {"SOC", 19000, 40}};
  const std::vector<FakeRail> second{{"CV", 19000, 0}, {"VDDRQ", 19000, 20}, {"SYS5V", 5000, 500}};
  const double watts = 19 * 0.21 + 2.5;
  TestTree newer, older;
  add_board(newer, "NVIDIA Jetson AGX Xavier Developer Kit",
            text({"nvidia,p2972-0000", "nvidia,tegra194"}));
  add_hwmon(newer, 1, first);
  add_hwmon(newer, 2, second);
  EXPECT_NEAR(*open_jetson(at(newer))->read().watts, watts, 1e-9);
  add_board(older, "Jetson-AGX", text({"nvidia,p2972-0000", "nvidia,tegra194"}));
  add_iio(older, "1-0040", 0, first);
  add_iio(older, "1-0041", 1, second);
  EXPECT_NEAR(*open_jetson(at(older))->read().watts, watts, 1e-9);
}

TEST(JetsonMeter, BoardsWithOneInput) {
  struct Case {
    std::string model, compatible, rail;
  };
  for (const auto& [model, part, rail] :
       {Case{"NVIDIA Jetson Nano Developer Kit", "nvidia,p3449-0000-b00+p3448-0000-b00", "POM_5V_IN"},
        Case{"jetson_tx1", "nvidia,p2371-2180", "VDD_IN"},
        Case{"quill", "nvidia,p2597-0000+p3310-1000", "VDD_IN"},
        Case{"lightning", "nvidia,p3489-0000+p3489-0888", "VDD_IN"},
        Case{"NVIDIA Jetson TX2 NX Developer Kit", "nvidia,p3509-0000+p3636-0001", "VDD_IN"},
        Case{"NVIDIA Jetson Xavier NX Developer Kit", "nvidia,p3509-0000+p3668-0000", "VDD_IN"},
        Case{"NVIDIA Jetson Orin NX", "a,carrier-of-another-maker", "VDD_IN"}}) {
    TestTree tree;
    add_board(tree, model, text({part, "nvidia,tegra-of-some-kind"}));
    add_iio(tree, "6-0040", 0,
            {{rail, 5000, 1000}, {"VDD_GPU_OF_IT", 5000, 300}, {"VDD_CPU_OF_IT", 5000, 300}});
    const auto meter = open_jetson(at(tree));
    EXPECT_DOUBLE_EQ(*meter->read().watts, 5) << model;
    EXPECT_EQ(to_string(meter->facts().boundary), "module") << model;
  }
}

TEST(JetsonMeter, ThorHasAMeterBeforeAllOfIt) {
  TestTree tree;
  add_board(tree, "NVIDIA Jetson AGX Thor Developer Kit",
            text({"nvidia,p4071-0000+p3834-0008", "nvidia,tegra264"}));
  add_hwmon(tree, 1,
            {{"VDD_GPU", 20000, 10}, {"VDD_CPU_SOC_MSS", 20000, 200}, {"VIN_SYS_5V0", 5000, 1000}});
  tree.write("sys/class/hwmon/hwmon2/name", "ina238\n");
  tree.write("sys/class/hwmon/hwmon2/power1_input", "23456000\n");
  const auto meter = open_jetson(at(tree));
  EXPECT_DOUBLE_EQ(*meter->read().watts, 23.456);
  EXPECT_EQ(to_string(meter->facts().boundary), "board");
  EXPECT_EQ(meter->facts().blind, "the power supply");
}

TEST(JetsonMeter, UnknownBoardsListTheirRailsAndAreNeverSummed) {
  TestTree tree;
  add_board(tree, "NVIDIA Jetson Next", text({"nvidia,p9999-0000", "nvidia,tegra999"}));
  add_hwmon(tree, 0, {{"VDD_IN", 5000, 1400}, {"VDD_A", 5000, 600}, {"VDD_B", 5000, 300}});
  const std::string error = error_of([&] { open_jetson(at(tree)); });
  EXPECT_NE(error.find("'NVIDIA Jetson Next' with rails VDD_IN, VDD_A, VDD_B; try"), std::string::npos)
      << error;
}

TEST(JetsonMeter, SaysWhatIsMissing) {
  TestTree tree;
  EXPECT_NE(error_of([&] { open_jetson(at(tree)); }).find("got a machine without device tree"),
            std::string::npos);
  add_board(tree, "Raspberry Pi 5 Model B Rev 1.0", text({"raspberrypi,5-model-b", "brcm,bcm2712"}));
  EXPECT_NE(error_of([&] { open_jetson(at(tree)); }).find("got Raspberry Pi 5"), std::string::npos);
  add_board(tree, "NVIDIA Jetson Nano 2GB Developer Kit",
            text({"nvidia,p3448-0003", "nvidia,tegra210"}));
  EXPECT_NE(error_of([&] {
              open_jetson(at(tree));
            }).find("expected rail POM_5V_IN of Jetson Nano, got no rail"),
            std::string::npos);
  add_hwmon(tree, 0, {{"VDD_OTHER", 5000, 1}});
  EXPECT_NE(error_of([&] { open_jetson(at(tree)); }).find("got rails VDD_OTHER"), std::string::npos);
  add_hwmon(tree, 1, {{"POM_5V_IN", 5000, 800}});
  const auto meter = open_jetson(at(tree));
  tree.write("sys/class/hwmon/hwmon1/curr1_input", "none\n");
  EXPECT_NE(error_of([&] { meter->read(); }).find("curr1_input (POM_5V_IN), got 'none'"),
            std::string::npos);
  tree.remove("sys/class/hwmon/hwmon1/in1_input");
  EXPECT_NE(error_of([&] { meter->read(); }).find("No such file"), std::string::npos);
}

// As a Raspberry Pi 5 prints it; the name 1V1_SYS twice, as some firmware has it.
constexpr const char* kPi5Output = R"(   3V3_SYS_A current(1)=0.10000000A
   1V1_SYS_A current(5)=0.20000000A
  VDD_CORE_A current(7)=1.50000000A
   1V1_SYS_A current(16)=0.01000000A
   3V3_SYS_V volt(9)=3.30000000V
   1V1_SYS_V volt(13)=1.10000000V
  VDD_CORE_V volt(15)=0.80000000V
   1V1_SYS_V volt(19)=0.80000000V
     EXT5V_V volt(24)=4.87894000V
      BATT_V volt(25)=0.00683760V
)";

class Pi5 : public ::testing::Test {
 protected:
  Pi5() {
    tree.write("proc/device-tree/model", text({"Raspberry Pi 5 Model B Rev 1.0"}));
    program("cat <<'END'\n" + std::string(kPi5Output) + "END\n");
  }
  void program(const std::string& script) {
    tree.write("bin/vcgencmd", "#!/bin/sh\n" + script);
    ::chmod((tree.root() / "bin/vcgencmd").c_str(), 0755);
  }
  std::string error() {
    return error_of([&] { open_pi5(at(tree)); });
  }
  TestTree tree;
  Variable path{"PATH", (tree.root() / "bin").string() + ":/usr/bin:/bin"};
};

TEST_F(Pi5, IsTheSumOfItsRails) {
  const auto meter = open_pi5(at(tree));
  EXPECT_NEAR(*meter->read().watts, 0.33 + 0.22 + 1.2 + 0.008, 1e-9);
  EXPECT_EQ(meter->facts().source, "sum of 4 rails of the power management chip");
  EXPECT_EQ(to_string(meter->facts().grade), "estimated");
  EXPECT_NE(meter->facts().blind.find("USB"), std::string::npos);
}

TEST_F(Pi5, IsAskedForTheRightThing) {
  program("test \"$*\" = pmic_read_adc && echo ' A_A current(1)=2A' && echo ' A_V volt(1)=3V'");
  EXPECT_DOUBLE_EQ(*open_pi5(at(tree))->read().watts, 6);
}

TEST_F(Pi5, SaysWhatIsWrong) {
  program("echo 'Can not open /dev/vcio' >&2; exit 255");
  EXPECT_NE(error().find("status 255: Can not open /dev/vcio"), std::string::npos) << error();
  EXPECT_NE(error().find("usermod -aG video"), std::string::npos);
  program("echo 'error=1 error_msg=\"Command not registered\"'");
  EXPECT_NE(error().find("Command not registered"), std::string::npos) << error();
  for (const std::string line : {"VDD_CORE_A current(7)=A", "VDD_CORE_A current(7)=1.5V", "VDD_CORE_A",
                                 "=1A", "VDD_CORE_A current(7)=1.5A and more"}) {
    program("echo '" + line + "'");
    EXPECT_NE(error().find("got '" + line + "'"), std::string::npos) << error();
  }
  program("true");
  EXPECT_NE(error().find("rpi-eeprom-update"), std::string::npos) << error();
  program("echo 'EXT5V_V volt(24)=4.8V'");
  EXPECT_NE(error().find("rails with current and voltage"), std::string::npos) << error();
  tree.write("proc/device-tree/model", text({"Raspberry Pi 4 Model B"}));
  EXPECT_NE(error().find("got Raspberry Pi 4 Model B"), std::string::npos) << error();
}

TEST_F(Pi5, NeedsItsProgram) {
  tree.remove("bin/vcgencmd");
  const Variable empty("PATH", (tree.root() / "bin").string());
  EXPECT_NE(error().find("raspi-utils-core"), std::string::npos) << error();
}

}  // namespace
}  // namespace maru::measure
