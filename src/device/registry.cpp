#include "device/registry.h"

#include "base/error.h"

namespace maru {

std::unique_ptr<Device> open_device(std::string_view name, const DeviceOptions& options) {
  auto devices = all_devices(options);
  std::string known = "auto";
  for (auto& device : devices) {
    if (name == "auto" || name == device->name()) return std::move(device);
    known += fmt::format(", {}", device->name());
  }
  throw Error("device", fmt::format("one of {}", known), fmt::format("\"{}\"", name),
              "`maru devices` to see what this machine offers");
}

}  // namespace maru
