// Devices that tests beside the CPU's run on, where this machine has them.
#pragma once

#include <gtest/gtest.h>

#include <algorithm>
#include <string_view>

#include "base/error.h"
#include "device/registry.h"

namespace maru::testing {

inline bool has_device(std::string_view name) {
  try {
    return open_device(name, {}) != nullptr;
  } catch (const Error&) {
    return false;
  }
}

// Whether the device has memory that the CPU sees, too.
inline bool has_shared_heap(std::string_view name) {
  const auto device = open_device(name, {});
  return std::ranges::any_of(device->heaps(), [](const Heap* heap) {
    return heap->traits().host_visible && heap->traits().device_visible;
  });
}

}  // namespace maru::testing

// Skips the test, and says so, where there is no such device.
#define MARU_NEEDS_DEVICE(name)         \
  if (!maru::testing::has_device(name)) \
  GTEST_SKIP() << "needs the device " << (name) << ", which this machine or this build has not"

#define MARU_NEEDS_SHARED_HEAP(name)         \
  if (!maru::testing::has_shared_heap(name)) \
  GTEST_SKIP() << (name) << " has no memory that the CPU sees, too: policy zero-copy is not for it"
