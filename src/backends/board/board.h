// The virtual boards: devices that compute with plain kernels here and whose memory behaves, and is
// modelled to cost, as that of a given machine does. Opened by name alone ("board:tk1"). What each one
// is stands in profiles/*.json, every fact with its source.
#pragma once

#include <memory>
#include <vector>

#include "device/device.h"

namespace maru {

std::vector<std::unique_ptr<Device>> board_devices(const DeviceOptions& options);

}  // namespace maru
