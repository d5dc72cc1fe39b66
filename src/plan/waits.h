// Order between the sides of a plan: where the CPU must wait for the device, and which bytes are handed
// over. Internal to the room `plan`.
#pragma once

#include <span>
#include <vector>

#include "plan/plan.h"

namespace maru::planning {

// The steps with waits and releases between them, and a wait at the end. Each side keeps its own order,
// so only bytes that both touch matter: before a step of the CPU, or a copy from the device, that
// touches a region which the device has touched since the last wait, the CPU waits. Operands in memory
// that must be mapped are handed over by that wait, and released before the device's next step. `plan`
// has the regions. Nothing is added where the CPU computes.
std::vector<Step> add_waits(const Plan& plan, std::span<const Device* const> devices,
                            std::vector<Step> steps);

}  // namespace maru::planning
