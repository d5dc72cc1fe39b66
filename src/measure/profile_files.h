// ProfileResult for machines: JSON, and a trace for chrome://tracing and Perfetto. Pure functions; any
// thread.
#pragma once

#include <string>

#include "measure/profile.h"

namespace maru::measure {

// Numbers as they were found; what was not measured is null.
std::string json_of(const ProfileResult& result);

// One run laid out from the medians of its steps, one after another, a row for each device. The format:
// "Trace Event Format", its JSON object form, complete events ("ph": "X").
std::string trace_of(const ProfileResult& result);

}  // namespace maru::measure
