#include "measure/machine.h"

#include <gtest/gtest.h>

#include <fstream>

#include "tests/files.h"

namespace maru::measure {
namespace {

namespace fs = std::filesystem;

class MachineTest : public ::testing::Test {
 protected:
  void file(const std::string& path, const std::string& text) {
    fs::create_directories((root_ / path).parent_path());
    std::ofstream(root_ / path, std::ios::binary) << text;
  }
  void core(int number, const std::string& governor, const std::string& khz) {
    const std::string folder = "sys/devices/system/cpu/cpu" + std::to_string(number) + "/";
    file(folder + "cpufreq/scaling_governor", governor + "\n");
    file(folder + "cpufreq/scaling_cur_freq", khz + "\n");
  }

  const maru::testing::Folder own_;
  const fs::path root_ = own_.path();
};

TEST_F(MachineTest, NothingIsToldByAnEmptyTree) {
  const MachineFacts facts = machine_facts(nullptr, root_);
  EXPECT_EQ(facts.cores, 0);
  EXPECT_EQ(facts.governor, "");
  EXPECT_EQ(facts.board, "");
  EXPECT_EQ(facts.memory_bytes, 0U);
  const MachineState state = machine_state(nullptr, root_);
  EXPECT_FALSE(state.cpu_hz);
  EXPECT_FALSE(state.celsius);
  EXPECT_TRUE(state.throttled_by.empty());
  EXPECT_FALSE(state.load);
  EXPECT_FALSE(state.tells_throttling);
}

TEST_F(MachineTest, APersonalComputer) {
  file("proc/cpuinfo",
       "processor\t: 0\nmodel name\t: AMD EPYC 9654 96-Core Processor\ncpu MHz\t\t: 2400.000\n");
  file("proc/meminfo", "MemTotal:       16000 kB\n");
  file("etc/os-release", "NAME=\"Debian\"\nPRETTY_NAME=\"Debian GNU/Linux 12 (bookworm)\"\n");
  file("proc/sys/kernel/osrelease", "6.1.0\n");
  file("sys/class/dmi/id/sys_vendor", "Dell Inc.\n");
  file("sys/class/dmi/id/product_name", "PowerEdge R6625\n");
  core(0, "performance", "3000000");
  core(1, "performance", "3500000");
  file("sys/devices/system/cpu/cpufreq/boost", "1\n");  // no core
  file("sys/class/thermal/thermal_zone0/temp", "45000\n");
  file("sys/class/thermal/thermal_zone1/temp", "61500\n");
  file("sys/class/thermal/thermal_zone2/temp", "-273200\n");
  const MachineFacts facts = machine_facts(nullptr, root_);
  EXPECT_EQ(facts.cpu, "AMD EPYC 9654 96-Core Processor");
  EXPECT_EQ(facts.cores, 2);
  EXPECT_EQ(facts.system, "Debian GNU/Linux 12 (bookworm), Linux 6.1.0");
  EXPECT_EQ(facts.board, "Dell Inc. PowerEdge R6625");
  EXPECT_EQ(facts.governor, "performance");
  EXPECT_EQ(facts.memory_bytes, 16000U * 1024);
  const MachineState state = machine_state(nullptr, root_);
  EXPECT_DOUBLE_EQ(state.cpu_hz.value_or(0), 3.25e9);
  EXPECT_DOUBLE_EQ(state.celsius.value_or(0), 61.5);
}

TEST_F(MachineTest, ABoardWithADeviceTree) {
  file("proc/cpuinfo", "processor\t: 0\nCPU part\t: 0xd42\n");
  file("proc/device-tree/model", std::string("NVIDIA Jetson AGX Orin\0", 23));
  core(0, "schedutil", "1000000");
  core(1, "performance", "1000000");
  const MachineFacts facts = machine_facts(nullptr, root_);
  EXPECT_EQ(facts.cpu, "CPU part 0xd42");
  EXPECT_EQ(facts.board, "NVIDIA Jetson AGX Orin");
  EXPECT_EQ(facts.governor, "mixed");
}

TEST_F(MachineTest, ClocksOfCpuinfoWhereThereIsNoScaling) {
  file("proc/cpuinfo", "processor\t: 0\ncpu MHz\t\t: 2000.0\nprocessor\t: 1\ncpu MHz\t\t: 3000.0\n");
  EXPECT_DOUBLE_EQ(machine_state(nullptr, root_).cpu_hz.value_or(0), 2.5e9);
}

TEST_F(MachineTest, ARaspberryPiIsThrottled) {
  const char* file_name = "sys/devices/platform/soc/soc:firmware/get_throttled";
  file(file_name, "50000\n");  // it was, it is not
  EXPECT_TRUE(machine_state(nullptr, root_).throttled_by.empty());
  file(file_name, "50005\n");
  EXPECT_EQ(machine_state(nullptr, root_).throttled_by,
            (std::vector<std::string>{"undervoltage", "thermal"}));
}

TEST_F(MachineTest, ACoolingDeviceAtWorkIsThrottling) {
  file("sys/class/thermal/cooling_device0/type", "pwm-fan\n");
  file("sys/class/thermal/cooling_device0/cur_state", "3\n");
  EXPECT_TRUE(machine_state(nullptr, root_).throttled_by.empty());
  file("sys/class/thermal/cooling_device1/type", "cpufreq-cpu0\n");
  file("sys/class/thermal/cooling_device1/cur_state", "2\n");
  EXPECT_EQ(machine_state(nullptr, root_).throttled_by, std::vector<std::string>{"thermal"});
}

TEST_F(MachineTest, ThrottlingSinceTheStartIsSeen) {
  core(0, "performance", "3000000");
  const char* count = "sys/devices/system/cpu/cpu0/thermal_throttle/core_throttle_count";
  file(count, "7\n");
  file("proc/stat", "cpu0 1 2 3 4 5 6 7\n");
  MachineWatch watch(nullptr, root_);
  EXPECT_FALSE(watch.look().load) << "over less than 0.1 s";
  EXPECT_TRUE(watch.look().tells_throttling);
  EXPECT_TRUE(watch.look().throttled_by.empty());
  file(count, "8\n");
  EXPECT_EQ(watch.look().throttled_by, std::vector<std::string>{"thermal"});
  watch.start();
  EXPECT_TRUE(watch.look().throttled_by.empty());
}

TEST_F(MachineTest, ThisMachineHasCoresAndAName) {
  const MachineFacts facts = machine_facts(nullptr);
  EXPECT_GE(facts.cores, 1);
  EXPECT_FALSE(facts.cpu.empty());
  EXPECT_GT(facts.memory_bytes, 0U);
}

}  // namespace
}  // namespace maru::measure
