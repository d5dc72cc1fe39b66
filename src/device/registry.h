// The registry of what this build can run on. The list itself is generated from the folders in
// src/backends.
#pragma once

#include <memory>
#include <string_view>
#include <vector>

#include "device/device.h"

namespace maru {

// Devices that are there and work, best first.
std::vector<std::unique_ptr<Device>> all_devices(const DeviceOptions& options);

// The device of that name, or the first for "auto". Throws Error listing the names there are.
std::unique_ptr<Device> open_device(std::string_view name, const DeviceOptions& options);

}  // namespace maru
