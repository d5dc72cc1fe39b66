#include "apps/cli/gpu_number.h"

#include <gtest/gtest.h>

namespace maru::cli {
namespace {

TEST(GpuNumber, IsTheDevicesWhereAllAreVisible) {
  EXPECT_EQ(gpu_number("cuda", nullptr), 0);
  EXPECT_EQ(gpu_number("cuda:3", nullptr), 3);
  for (const char* other : {"cpu", "opencl", "opencl:1", "cudax", "cuda:", "cuda:x", ""})
    EXPECT_EQ(gpu_number(other, nullptr), std::nullopt) << other;
}

TEST(GpuNumber, IsThatOfTheListOfVisibleOnes) {
  EXPECT_EQ(gpu_number("cuda", "2"), 2);
  EXPECT_EQ(gpu_number("cuda", "5, 3"), 5);
  EXPECT_EQ(gpu_number("cuda:1", "5, 3"), 3);
  EXPECT_EQ(gpu_number("cuda:2", "5,3"), std::nullopt);
  EXPECT_EQ(gpu_number("cuda", ""), std::nullopt);
  EXPECT_EQ(gpu_number("cuda:1", "0,-1,1"), std::nullopt);
}

TEST(GpuNumber, IsNotToldByIdentifiers) {
  EXPECT_EQ(gpu_number("cuda", "GPU-8932f937-d72c-4106-c12f-20bd9faed9f6"), std::nullopt);
  EXPECT_EQ(gpu_number("cuda", "MIG-GPU-8932f937-d72c-4106-c12f-20bd9faed9f6/1/2"), std::nullopt);
  EXPECT_EQ(gpu_number("cuda:1", "1,GPU-8932f937"), std::nullopt);
  EXPECT_EQ(gpu_number("cuda", "1,GPU-8932f937"), 1);
}

TEST(GpuName, IsWhatCudaCallsIt) {
  EXPECT_EQ(gpu_name("NVIDIA H200, compute capability 9.0, 139 GiB, memory of its own"), "NVIDIA H200");
  EXPECT_EQ(gpu_name("AMD EPYC, 2 threads, blocks of 8 channels; oneDNN 2.6.3"), "");
}

}  // namespace
}  // namespace maru::cli
