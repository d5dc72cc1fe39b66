// How the verbs show a packed file, in text and in JSON.
#pragma once

#include <maru/pack.h>

#include <string>

#include "apps/cli/json.h"

namespace maru::cli {

std::string text_of(const PackedInfo& info);
Json to_json(const PackedInfo& info);

}  // namespace maru::cli
