// The OpenCL backend: a device "opencl", "opencl:1", ... for each device of each platform, GPUs and
// accelerators first. Nothing of OpenCL runs before opencl_devices() is called. Needs OpenCL 1.2; what
// later versions brought (shared virtual memory) is used where the device reports it.
#pragma once

#include <memory>
#include <vector>

#include "device/device.h"

namespace maru {

// Empty where there is no platform, no device, or none that works.
std::vector<std::unique_ptr<Device>> opencl_devices(const DeviceOptions& options);

}  // namespace maru
