#include "backends/opencl/tuning.h"

#include <gtest/gtest.h>
#include <unistd.h>

#include <cstdlib>
#include <filesystem>
#include <fstream>

#include "backends/opencl/activation.h"

namespace maru::opencl {
namespace {

namespace fs = std::filesystem;

// Two ways that differ much in what they have to do.
class OpenclTuning : public ::testing::Test {
 protected:
  void SetUp() override {
    folder_ = fs::path(::testing::TempDir()) / fmt::format("maru_tuning_{}", ::getpid());
    ::setenv("MARU_CACHE_DIR", folder_.c_str(), 1);
    cl_platform_id platform = nullptr;
    cl_device_id device = nullptr;
    const bool is_there =
        clGetPlatformIDs(1, &platform, nullptr) == CL_SUCCESS &&
        clGetDeviceIDs(platform, CL_DEVICE_TYPE_ALL, 1, &device, nullptr) == CL_SUCCESS;
    if (!is_there) GTEST_SKIP() << "no OpenCL device here; pocl-opencl-icd makes the CPU one";
    runtime_ = std::make_unique<Runtime>(platform, device);
  }
  void TearDown() override { fs::remove_all(folder_); }

  static constexpr std::size_t kBytes = std::size_t{16} << 20;

  std::size_t fastest_of(const std::string& call) {
    const Trials trials{call, {"all of it", "little of it"}, {kBytes}, {kBytes}, 0};
    return fastest(*runtime_, trials, [&](std::size_t i) {
      ++made_;
      if (i == failing_) throw Error("a test", "a way that works", "this one");
      return std::vector{absolute(i == 0 ? kBytes / sizeof(float) : 64)};
    });
  }

  // |x| of so many floats.
  Stage absolute(std::size_t count) const {
    const Activation activation(Unary{Unary::Kind::abs});
    const auto vectors = static_cast<std::int64_t>(count) / runtime_->block;
    return stage(runtime_->program("unary", activation.option), "unary", vectors, 1, 1,
                 {src(0), dst(0), cl_ulong{0}, cl_ulong{0}, cl_ulong{count}, activation.alpha,
                  activation.scale, activation.shift, cl_uint{1}, cl_uint{1}});
  }

  void damage() const {
    for (const auto& entry : fs::directory_iterator(folder_ / "opencl-tuning")) {
      std::ofstream(entry.path(), std::ios::trunc) << "nonsense";
    }
  }

  std::unique_ptr<Runtime> runtime_;
  fs::path folder_;
  int made_ = 0;
  std::size_t failing_ = 99;
};

TEST_F(OpenclTuning, PicksTheFastestAndKeepsIt) {
  EXPECT_EQ(fastest_of("a call"), 1u);
  EXPECT_EQ(made_, 2);
  EXPECT_EQ(fastest_of("a call"), 1u);
  EXPECT_EQ(made_, 2) << "measured again";
  fastest_of("another call");
  EXPECT_EQ(made_, 4);
}

TEST_F(OpenclTuning, DamagedNotesAreAsNone) {
  fastest_of("a call");
  damage();
  EXPECT_EQ(fastest_of("a call"), 1u);
  EXPECT_EQ(made_, 4);
}

TEST_F(OpenclTuning, WhatFailsIsNotChosen) {
  failing_ = 1;
  EXPECT_EQ(fastest_of("a call"), 0u);
}

}  // namespace
}  // namespace maru::opencl
