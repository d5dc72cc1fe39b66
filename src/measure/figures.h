// The drawings of a comparison: bars, samples, power, ratios. Plain functions; any thread.
#pragma once

#include <string>
#include <vector>

#include "measure/markup.h"
#include "measure/result.h"

namespace maru::measure {

// Wide enough for a page, and narrow enough for a phone: the same drawing twice, since letters that
// shrink with a wide one cannot be read.
inline constexpr double kWide = 920, kNarrow = 380;

Svg time_bars(const BenchResult& result);
// Says why not, and what would help, where no energy was measured.
Svg energy_bars(const BenchResult& result);

// Every sample of every block over time; of many an even choice with the extremes of each block.
Svg samples_figure(const BenchResult& result, double width);
// Readings with power over time: as the meter told it, or else the mean between readings of its
// counter, as steps; empty where there is neither.
std::vector<Reading> power_of(const BenchResult& result);
// Power over time, with the blocks shaded by way. Only where there is a trace of it.
Svg power_figure(const BenchResult& result, double width);
// Each ratio with its interval, on both sides of 1.
Svg ratios_figure(const BenchResult& result, double width);

// "A" for the first way, as in Method::order.
std::string letter_of(std::size_t way);
// Why there is no energy, and what to do, a line for each meter that was looked for.
std::vector<std::string> why_no_energy(const std::vector<MeterAbsence>& absences);
// "0.89 (0.87 to 0.91)"
std::string interval_text(const Interval& interval, int decimals = 2);

}  // namespace maru::measure
