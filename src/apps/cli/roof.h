// What a device does at best: measured through maru itself, by a network of one large convolution.
#pragma once

#include <maru/model.h>

#include "device/device.h"
#include "measure/profile.h"

namespace maru::cli {

// `options` say precision, threads and tuning. Takes about a second, and writes a model to a temporary
// folder meanwhile. What cannot be measured is 0.
measure::Roof measure_roof(const Device& device, const ModelOptions& options);

}  // namespace maru::cli
