#include "device/speed.h"

#include <algorithm>

namespace maru {

DeviceSpeed assumed_speed(const Device& device) {
  // A page that moves is fetched and brought back: a fifth of what reading it over the bus does (9 GB/s
  // against 50 on an H200).
  constexpr double kCached = 10e9, kUncached = kCached / 30, kWriteCombined = 5e9, kMoved = 1e9;
  DeviceSpeed speed;
  for (const Heap* heap : device.heaps()) {
    const MemoryTraits& traits = heap->traits();
    HeapSpeed one;
    if (traits.host_visible) {
      one.host_read = traits.host_cached ? kCached : kUncached;
      one.host_write = traits.host_cached ? kCached : kWriteCombined;
      one.map_seconds = traits.concurrent ? 0 : 20e-6;
    }
    if (traits.device_visible) {
      one.device_read = one.device_write = traits.migrates        ? kMoved
                                           : traits.device_cached ? kCached
                                                                  : kCached / 2;
    }
    speed.heaps.push_back(one);
  }
  const bool has_two = std::ranges::any_of(device.heaps(), [](const Heap* heap) {
    return heap->traits().device_visible && !heap->traits().host_visible;
  });
  if (!device.is_host()) {
    speed.launch_seconds = 5e-6;
    speed.wait_seconds = 50e-6;
  }
  if (has_two) {
    speed.upload = speed.download = kCached / 2;
    speed.transfer_seconds = 20e-6;
  }
  return speed;
}

}  // namespace maru
