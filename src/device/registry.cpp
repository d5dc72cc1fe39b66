#include "device/registry.h"

#include "base/error.h"

namespace maru {

std::vector<std::unique_ptr<Device>> all_devices(const DeviceOptions& options) {
  std::vector<std::unique_ptr<Device>> all;
  for (const Backend& backend : all_backends()) {
    if (backend.by_name_only) continue;
    for (auto& device : backend.devices(options)) all.push_back(std::move(device));
  }
  return all;
}

std::unique_ptr<Device> open_device(std::string_view name, const DeviceOptions& options) {
  const std::string_view wanted = name.substr(0, name.find(':'));
  std::string absent;
  DeviceOptions asking = options;
  asking.report = [&](const Absence& absence) {
    absent += fmt::format("{}{}", absent.empty() ? "" : "; ", absence.why.what());
    if (options.report) options.report(absence);
  };
  for (const Backend& backend : all_backends()) {
    if (name == "auto" ? backend.by_name_only : wanted != backend.name) continue;
    for (auto& device : backend.devices(asking)) {
      if (name == "auto" || name == device->name()) return std::move(device);
    }
  }
  std::string known = "auto";
  for (const Backend& backend : all_backends()) {
    if (backend.by_name_only && wanted != backend.name) continue;
    for (const auto& device : backend.devices({})) known += fmt::format(", {}", device->name());
  }
  throw Error("device", fmt::format("one of {}", known),
              fmt::format("\"{}\"{}", name, absent.empty() ? "" : ", which is not there: " + absent),
              "`maru devices` to see what this machine offers");
}

}  // namespace maru
