// Words of the command line of `maru train`: lengths of time, and what is done to photos. Pure
// functions; any thread.
#pragma once

#include <optional>
#include <string>
#include <string_view>

#include "data/augment.h"

namespace maru::cli {

// "9m", "90s", "1h30m", "45": seconds. Throws UsageError naming the option.
double duration_of(std::string_view option, std::string_view text);
// The other way, for people: "3 h 12 min", "4 min 10 s", "8.2 s".
std::string duration_text(double seconds);

// What `words` ("area=0.08:1,mirror,brightness=0.4") changes of how photos are augmented. Throws
// UsageError naming the option.
void apply_augment(std::string_view option, std::string_view words, Augment& augment);

}  // namespace maru::cli
