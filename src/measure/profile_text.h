// ProfileResult for a terminal. Pure function; any thread.
#pragma once

#include <string>

#include "measure/profile.h"

namespace maru::measure {

// The steps in the order of the plan, or the `top` that take most, those first; what all take, roofs
// and notes.
std::string text_of(const ProfileResult& result, std::size_t top = 0);

}  // namespace maru::measure
