#include <gtest/gtest.h>

#include <cerrno>

#include "measure/meters/meters.h"
#include "measure/meters/test_tree.h"

namespace maru::measure {
namespace {

MeterOptions at(const TestTree& tree) { return {.root = tree.root()}; }

TEST(RaplMeter, SumsPackagesAndTheirMemoryAndNothingTwice) {
  TestTree tree;
  tree.add_package(0, 1'000'000);
  tree.add_package(1, 5'000'000);
  tree.add_domain("intel-rapl:0:0", "core", 7);
  tree.add_domain("intel-rapl:0:1", "uncore", 7);
  tree.add_domain("intel-rapl:0:2", "dram", 2'000'000);
  tree.add_domain("intel-rapl:2", "psys", 900'000'000);
  tree.add_domain("intel-rapl-mmio:0", "package-0", 1'000'000);
  const auto meter = open_rapl(at(tree));
  EXPECT_EQ(
      meter->facts().source,
      "RAPL counters of package-0 + intel-rapl:0 dram + package-1; psys is there too and not added");
  EXPECT_EQ(to_string(meter->facts().boundary), "chip");
  EXPECT_EQ(to_string(meter->facts().grade), "estimated");
  EXPECT_EQ(meter->facts().period_seconds, 1e-3);
  EXPECT_EQ(meter->facts().blind.find("memory"), std::string::npos);
  EXPECT_EQ(meter->read().joules, 0);
  tree.add_package(0, 1'500'000);                        // 0.5 J
  tree.add_package(1, 5'250'000);                        // 0.25 J
  tree.add_domain("intel-rapl:0:0", "core", 400'000);    // within the package
  tree.add_domain("intel-rapl:0:2", "dram", 2'125'000);  // 0.125 J
  tree.add_domain("intel-rapl:2", "psys", 999'000'000);  // has them all
  tree.add_domain("intel-rapl-mmio:0", "package-0", 1'500'000);
  EXPECT_DOUBLE_EQ(*meter->read().joules, 0.875);
  EXPECT_FALSE(meter->read().watts);
}

TEST(RaplMeter, CountersThatStartAnewGoOn) {
  TestTree tree;
  constexpr std::uint64_t kRange = 65'532'610'987;
  tree.add_domain("intel-rapl:0", "package-0-die-0", kRange - 1'000'000, kRange);
  tree.add_domain("intel-rapl:1", "package-0-die-1", 10, kRange);
  const auto meter = open_rapl(at(tree));
  EXPECT_NE(meter->facts().blind.find("memory"), std::string::npos);
  double last = 0;
  for (int round = 0; round < 3; ++round) {
    tree.add_domain("intel-rapl:0", "package-0-die-0", 2'000'000, kRange);
    const double wrapped = *meter->read().joules;
    EXPECT_NEAR(wrapped - last, 3, 1e-9);
    tree.add_domain("intel-rapl:0", "package-0-die-0", kRange - 1'000'000, kRange);
    last = *meter->read().joules;
    EXPECT_NEAR(last - wrapped, (kRange - 3'000'000) * 1e-6, 1e-6);
  }
}

// Root may read everything, so that the answer is made up here.
TEST(RaplMeter, SaysHowToBeAllowed) {
  TestTree tree;
  tree.add_package(0, 1);
  const TextReader forbidden = [](const std::filesystem::path& path) -> std::optional<std::string> {
    if (path.filename() != "energy_uj") return read_text(path);
    errno = EACCES;
    return std::nullopt;
  };
  const std::string text = error_of([&] { open_rapl(at(tree), forbidden); });
  EXPECT_NE(text.find("intel-rapl:0/energy_uj, got Permission denied; try sudo chmod a+r "
                      "/sys/class/powercap/intel-rapl:*/energy_uj"),
            std::string::npos)
      << text;
  EXPECT_NE(text.find("/etc/udev/rules.d/70-maru-rapl.rules"), std::string::npos);
}

TEST(RaplMeter, RefusesWhatMakesNoSense) {
  TestTree tree;
  EXPECT_NE(error_of([&] { open_rapl(at(tree)); }).find("modprobe intel_rapl_msr"), std::string::npos);
  tree.add_domain("intel-rapl:0", "psys", 1);  // alone, it is not a package
  EXPECT_NE(error_of([&] { open_rapl(at(tree)); }).find("expected a package"), std::string::npos);
  tree.add_package(0, 1);
  const auto meter = open_rapl(at(tree));
  tree.write("sys/class/powercap/intel-rapl:0/energy_uj", "many\n");
  EXPECT_NE(error_of([&] { meter->read(); }).find("got 'many'"), std::string::npos);
  tree.remove("sys/class/powercap/intel-rapl:0/energy_uj");
  EXPECT_NE(error_of([&] { meter->read(); }).find("No such file"), std::string::npos);
  tree.write("sys/class/powercap/intel-rapl:0/max_energy_range_uj", "0\n");
  EXPECT_NE(error_of([&] { open_rapl(at(tree)); }).find("max_energy_range_uj"), std::string::npos);
}

}  // namespace
}  // namespace maru::measure
