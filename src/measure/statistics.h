// Statistics of runs that were measured in blocks: medians, percentiles, and 95 % intervals by block
// bootstrap. Runs within a block resemble each other more than those of another block, so whole blocks
// are drawn again, never single runs. Pure functions with fixed seeds: the same figures give the same
// intervals; any thread.
#pragma once

#include <cstddef>
#include <vector>

#include "measure/result.h"

namespace maru::measure {

double median(std::vector<double> values);
double mean(const std::vector<double>& values);
// share of 0 to 1; between two values, linearly (type 7 of Hyndman and Fan, "Sample quantiles in
// statistical packages", 1996).
double percentile(std::vector<double> values, double share);

// Intervals are from percentiles of the figure over 4000 rounds of drawing as many blocks as there are,
// with replacement. Plain percentiles are too narrow for few blocks; these are those of Hesterberg's
// expanded interval ("What teachers should know about the bootstrap", 2015, section 5.3.2), which is as
// wide as Student's t has it. Since nothing can be drawn that was not measured, fewer than 6 blocks
// hold the truth less often than 95 times of 100 (4 blocks: 86). One block has no interval: it is from
// 0 to infinity.
inline constexpr std::size_t kEnoughBlocks = 6;

// Of all runs of all blocks.
Interval median_of(const std::vector<std::vector<double>>& blocks);
// Of one figure for each block.
Interval mean_of(const std::vector<double>& blocks);
// Of a over b: a[i] and b[i] are blocks measured next to each other, and what slowed down both is not
// in their ratio; of these the median. Neither is empty, and they are equally many.
Interval ratio_of(const std::vector<double>& a, const std::vector<double>& b);
// As ratio_of, of blocks that have nothing to do with each other (of two results).
Interval unpaired_ratio_of(const std::vector<double>& a, const std::vector<double>& b);

// Student's t: the quantile at `share` (0.5 to 1) of so many degrees of freedom, at least 1.
double student_quantile(double share, std::size_t freedom);

}  // namespace maru::measure
