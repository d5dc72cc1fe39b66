// The parts that both reports have: where it was measured, by what, and how.
#pragma once

#include <string>
#include <utility>
#include <vector>

#include "measure/result.h"

namespace maru::measure {

// Rows of a list of facts, as plain text; those without a value are left out.
using Facts = std::vector<std::pair<std::string, std::string>>;

std::string list_of(const Facts& facts);
// A line of it stands for each.
void add_machine(Facts& facts, const MachineFacts& machine);
void add_meter(Facts& facts, const std::optional<MeterFacts>& meter,
               const std::vector<MeterAbsence>& absences);
void add_model(Facts& facts, const BenchResult::Model& model);

// "measured at the board": what a figure of this meter is worth.
std::string worth_of(const MeterFacts& meter);
// "9.4 %", for a share between 0 and 1.
std::string percent_text(double share, int decimals = 1);
// "GoogLeNet, 1 x 3 x 224 x 224"
std::string shape_text(const std::vector<std::int64_t>& shape);

}  // namespace maru::measure
