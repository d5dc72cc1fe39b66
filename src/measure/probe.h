// Probe: measures what a device's memory does from each side, once for each machine; what was measured
// is kept in the cache folder. Any thread; two probes at once disturb each other's figures.
#pragma once

#include "device/speed.h"

namespace maru {

// Measures now: some tenths of a second. The best of several passes over `bytes` of every heap; the
// CPU's side with one thread, mapping included; the device's side by its copy kernel, for which its
// fastest heap is taken to read and write equally fast. What cannot be measured is as assumed_speed()
// has it.
DeviceSpeed probe(const Device& device, std::size_t bytes = std::size_t{8} << 20);

// What the device's model says, where it has one; else what was measured before for this device, driver
// and set of heaps, or a new probe, which is kept.
DeviceSpeed speed_of(const Device& device, bool refresh = false);

}  // namespace maru
