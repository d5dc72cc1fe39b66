// Devices that tests beside the CPU's run on, where this machine has them.
#pragma once

#include <gtest/gtest.h>

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

}  // namespace maru::testing

// Skips the test, and says so, where there is no such device.
#define MARU_NEEDS_DEVICE(name)         \
  if (!maru::testing::has_device(name)) \
  GTEST_SKIP() << "needs the device " << (name) << ", which this machine or this build has not"
