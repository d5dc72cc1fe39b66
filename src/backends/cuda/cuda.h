// The CUDA backend: a device "cuda", "cuda:1", ... for each of NVIDIA's GPUs that the driver shows.
// Nothing of CUDA is part of libmaru: it is in a module, libmaru_cuda.so, that cuda_devices() opens.
#pragma once

#include <memory>
#include <vector>

#include "device/device.h"

namespace maru {

// Empty where there is no module, no driver or no GPU; DeviceOptions::report is told why.
std::vector<std::unique_ptr<Device>> cuda_devices(const DeviceOptions& options);

}  // namespace maru
