// Summary: what the blocks of a comparison say of each way, of one way against another, and of whether
// the comparison was fair. Pure functions of plain values; any thread.
#pragma once

#include <cstddef>
#include <string_view>
#include <vector>

#include "measure/result.h"

namespace maru::measure {

// Fills in what follows from result.blocks: of each way its times and energy, and result.ratios. Energy
// is of an image: of batch images a run.
void summarise(BenchResult& result);

// Of each block of a way, in order: the median of its runs; joules an image (empty where any block has
// none).
std::vector<double> block_medians(const BenchResult& result, std::size_t way);
std::vector<double> block_joules(const BenchResult& result, std::size_t way);

// Whether the ways can be compared; the text says what was looked at, and what the machine did not tell
// or the blocks were too few or short to show. Unstable, with the reasons, when
// - the clock was lowered (throttled) at any block,
// - the clocks of two ways' blocks differ by more than 5 % in the median,
// - others kept more than a tenth of our cores busy, in the mean of all blocks,
// - blocks became slower or faster by more than 2 % from first to last, by a line through all blocks,
//   each relative to its way, that is steeper than chance has it one time in a hundred (Student's t).
Check drift_check(const BenchResult& result);

}  // namespace maru::measure
