// Reports for people: one HTML file that needs nothing else, readable without scripts, on a phone, in
// the dark and on paper. Plain functions; any thread.
#pragma once

#include <string>

#include "measure/profile.h"
#include "measure/result.h"

namespace maru::measure {

std::string html_of(const BenchResult& result);
std::string html_of(const ProfileResult& result);

// The figure of the 2016 experiment, time on the left and energy on the right, as one SVG file.
std::string figure_of(const BenchResult& result);

}  // namespace maru::measure
