// The CPU backend: one device, "cpu", whose one heap is the host's memory. Convolution, pooling, inner
// product, LRN, elementwise functions, softmax, batch normalisation and changes of layout are oneDNN's;
// what oneDNN has not are loops of our own or, last, the reference kernels.
#pragma once

#include <memory>
#include <vector>

#include "device/device.h"

namespace maru {

std::vector<std::unique_ptr<Device>> cpu_devices(const DeviceOptions& options);

}  // namespace maru
