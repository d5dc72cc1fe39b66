// The registry of what this build can run on. The list itself is generated from the folders in
// src/backends.
#pragma once

#include <memory>
#include <string_view>
#include <vector>

#include "device/device.h"

namespace maru {

// One folder of src/backends. The names of its devices are the folder's, or begin with it and ':'.
struct Backend {
  std::string_view name;
  // Devices that are there and work, best first. Starts the backend's runtime, which may take a while.
  std::vector<std::unique_ptr<Device>> (*devices)(const DeviceOptions& options);
  // Its devices stand for others: never picked for "auto" nor in all_devices(), opened by name alone.
  bool by_name_only = false;
};

// Preferred ones first.
std::span<const Backend> all_backends();

// The devices of all backends but those opened by name alone, best first.
std::vector<std::unique_ptr<Device>> all_devices(const DeviceOptions& options);

// The device of that name, or for "auto" the first that computes in the precision of the options;
// backends before it in the list of those that could have it are not started. Throws Error listing the
// names there are, or the precisions that the device computes in.
std::unique_ptr<Device> open_device(std::string_view name, const DeviceOptions& options);

}  // namespace maru
