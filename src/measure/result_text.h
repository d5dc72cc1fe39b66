// BenchResult for people: as text, as Markdown, as the table of the experiment of 2016, and as lines of
// CSV for other programs. Pure functions; any thread.
#pragma once

#include <string>

#include "measure/result.h"

namespace maru::measure {

std::string text_of(const BenchResult& result);
std::string markdown_of(const BenchResult& result);
// One line a run that was kept, with what is known of its block.
std::string csv_of(const BenchResult& result);
// The table and the figure of the experiment, with what it published beside: the mean of all runs of
// copy and zero-copy (or of the first two ways), ms and mWh an image, and how much was saved.
std::string paper_of(const BenchResult& result);

// "16.88": four digits that count, without an exponent.
std::string figure(double value);
// "0.970 (0.951 to 0.988)"; of a figure without interval the figure alone. `scale` multiplies.
std::string figure(const Interval& interval, double scale = 1);

}  // namespace maru::measure
