// How the verbs write JSON: keys in the order written, one document on standard output.
#pragma once

#include <maru/types.h>

#include <nlohmann/json.hpp>

#include "apps/cli/output.h"

namespace maru::cli {

using Json = nlohmann::ordered_json;

void print_json(Output& out, const Json& document);

// The shortest number that reads back as the same float; null where JSON has none (NaN, infinity).
Json to_json(float value);

}  // namespace maru::cli
