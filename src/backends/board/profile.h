// Profile: what is known of one board's memory and speed, read from its data file. A plain value.
#pragma once

#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "device/speed.h"

namespace maru::board {

// When the CPU may touch memory of a heap.
enum class CpuMay {
  never,
  always,  // also while the device works
  when_mapped,
  when_idle,  // of the whole device: managed memory without concurrentManagedAccess
  alone,      // the device's kernels cannot use it
};

struct HeapProfile {
  std::string name;
  MemoryTraits traits;
  CpuMay cpu_may = CpuMay::never;
  bool moves = false;  // another address at each map
};

struct Profile {
  std::string name, title, gpu;
  std::vector<HeapProfile> heaps;
  DeviceModel model;  // heaps as in `heaps`
};

// The data files, as the build has found them.
std::span<const std::string_view> profile_texts();

// Throws Error naming the board and the field.
Profile parse_profile(std::string_view text);

}  // namespace maru::board
