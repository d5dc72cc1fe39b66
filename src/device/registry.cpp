#include "device/registry.h"

#include "base/error.h"

namespace maru {
namespace {

void require_precision(const Device& device, Precision precision) {
  if (device.computes(precision)) return;
  std::string known = "fp32";
  for (const Precision other : {Precision::tf32, Precision::fp16}) {
    if (device.computes(other)) known += fmt::format(" or {}", to_string(other));
  }
  throw Error("precision", fmt::format("{}, which the device {} computes in", known, device.name()),
              to_string(precision), "--precision fp32, or another --device");
}

}  // namespace

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
  asking.only = name;
  asking.report = [&](const Absence& absence) {
    absent += fmt::format("{}{}", absent.empty() ? "" : "; ", absence.why.what());
    if (options.report) options.report(absence);
  };
  for (const Backend& backend : all_backends()) {
    if (name == "auto" ? backend.by_name_only : wanted != backend.name) continue;
    for (auto& device : backend.devices(asking)) {
      if (!is_the_one(*device, asking)) continue;
      require_precision(*device, options.precision);
      return std::move(device);
    }
  }
  if (name == "auto" && options.precision != Precision::fp32) {
    throw Error("precision", "fp32: no device here computes in another", to_string(options.precision),
                "--precision fp32");
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
