// The devices of one module. cuda.h has them for the module of this build.
#pragma once

#include <memory>
#include <vector>

#include "backends/cuda/module.h"
#include "device/device.h"

namespace maru::cuda {

// Empty where there is no driver or no GPU; DeviceOptions::report is told why.
std::vector<std::unique_ptr<Device>> devices_of(const std::shared_ptr<const Module>& module,
                                                const DeviceOptions& options);

}  // namespace maru::cuda
