// BenchResult as JSON and back: what `maru bench --json` writes and `--compare-files` reads. Numbers
// are as they were found; what was not measured is null. Pure functions; any thread.
#pragma once

#include <filesystem>
#include <string>
#include <string_view>

#include "measure/result.h"

namespace maru::measure {

inline constexpr std::string_view kResultFormat = "maru bench 1";

std::string to_json(const BenchResult& result);
// `name` says in errors where the text is from. Throws Error for what is no such result, or a damaged
// one, and says where in it.
BenchResult result_from_json(std::string_view text, const std::string& name);
BenchResult read_result(const std::filesystem::path& file);

}  // namespace maru::measure
