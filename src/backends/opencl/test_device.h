// For tests: the first OpenCL device, or why there is none, and a kernel that anybody can check. Test
// code alone.
#pragma once

#include <gtest/gtest.h>

#include <algorithm>
#include <memory>

#include "backends/opencl/opencl.h"
#include "ops/unary.h"

namespace maru::opencl::testing {

class OpenclTest : public ::testing::Test {
 protected:
  void SetUp() override {
    auto devices = opencl_devices({});
    if (devices.empty()) GTEST_SKIP() << "no OpenCL device here; pocl-opencl-icd makes the CPU one";
    device = std::move(devices.front());
  }

  const Heap* heap(std::string_view name) const {
    for (const Heap* one : device->heaps()) {
      if (one->name() == name) return one;
    }
    return nullptr;
  }

  static TensorDesc vector(std::int64_t count) { return {DType::f32, {count}, Layout::plain()}; }

  // y = 3 x + 1 on floats.
  std::unique_ptr<Kernel> affine(std::int64_t count) const {
    const Op op = Unary{Unary::Kind::power, 1, 3, 1};
    const TensorDesc src[] = {vector(count)}, dst[] = {vector(count)};
    const bool constant[] = {false};
    const Call call{op, src, dst, constant};
    return device->compile(call, device->offers(call).at(0));
  }
  std::unique_ptr<Launch> bind_affine(const Kernel& kernel, const Buffer& src, const Buffer& dst,
                                      std::int64_t count, std::size_t src_offset = 0) const {
    const Tensor from[] = {{vector(count), &src, src_offset}}, to[] = {{vector(count), &dst, 0}};
    return kernel.bind(from, to, {});
  }

  std::unique_ptr<Device> device;
};

}  // namespace maru::opencl::testing
