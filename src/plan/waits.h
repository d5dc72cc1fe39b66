// Order between the sides of a plan: where the CPU must wait for the device, and which bytes are handed
// over. Internal to the room `plan`.
#pragma once

#include <span>
#include <vector>

#include "plan/plan.h"

namespace maru::planning {

// The steps with waits and releases between them, and a wait at the end where the device is not done.
// Each side keeps its own order, so only bytes that both touch matter. A wait stands before a step of
// the CPU that reads bytes which the device writes, or writes bytes which it reads or writes, and
// before a copy of bytes which it writes, where no wait or copy came between. Memory that is not
// concurrent is mapped by a wait, for all steps of the CPU in a row at once, and released before the
// device's next step. `plan` has the regions. Nothing is added where the CPU computes.
std::vector<Step> add_waits(const Plan& plan, std::span<const Device* const> devices,
                            std::vector<Step> steps);

}  // namespace maru::planning
