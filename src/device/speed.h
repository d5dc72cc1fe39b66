// What was measured, or must be assumed, of a device's memory and of the cost of handing work over.
// Plain values; the planner decides by them, the probe (measure/probe.h) takes them.
#pragma once

#include <string>
#include <vector>

#include "device/device.h"

namespace maru {

// Of one heap. Bytes a second; 0: that side cannot.
struct HeapSpeed {
  double host_read = 0, host_write = 0;
  double device_read = 0, device_write = 0;
  double map_seconds = 0;  // to map and unmap one range for the CPU, whatever its size

  bool operator==(const HeapSpeed&) const = default;
};

struct DeviceSpeed {
  std::vector<HeapSpeed> heaps;     // in the order of Device::heaps()
  double launch_seconds = 0;        // to give one small kernel to a busy queue
  double wait_seconds = 0;          // from giving one small kernel to seeing it done
  double upload = 0, download = 0;  // bytes a second of Device::transfer(); 0: it has none
  double transfer_seconds = 0;      // of a transfer of a few bytes
  bool measured = false;

  bool operator==(const DeviceSpeed&) const = default;
};

// Speeds of a machine, its arithmetic included.
struct MachineSpeed {
  DeviceSpeed memory;
  double device_flops = 0;  // a second, of convolutions and alike; 0: not known
  double host_flops = 0;    // the same of the CPU beside it, all cores
  double rereads = 0;  // how much of what a window reads again comes from memory where nothing caches:
                       // 0 none (a kernel keeps it), 1 all
};

// What somebody else has measured on such a machine.
struct PublishedTime {
  std::string network, memory;  // "copy" or "zero-copy"
  double seconds = 0;           // of one image
  std::string source;
};

// What is known of a device without measuring it: the figures to plan with, and how much better or
// worse those that nobody knows may be.
struct DeviceModel {
  MachineSpeed expected, best, worst;
  std::vector<PublishedTime> published{};
};

// Cautious figures from traits alone, where nothing was measured.
DeviceSpeed assumed_speed(const Device& device);

}  // namespace maru
