// Placing blocks of known size and lifetime in one arena. Pure arithmetic; internal to the room `plan`.
#pragma once

#include <cstddef>
#include <functional>
#include <vector>

namespace maru::planning {

// Needed from step `first` to step `last`, both included.
struct Block {
  std::size_t bytes = 0;
  std::size_t first = 0, last = 0;
  std::size_t offset = 0;  // result
};

// Whether two blocks, by index, must not share bytes, beyond those that are needed at the same step.
using Apart = std::function<bool(std::size_t, std::size_t)>;

// Gives every block an offset that is a multiple of `alignment` so that no two blocks overlap that are
// needed at the same step, or that `apart` says so of, where there is one. Largest first, each at the
// lowest place that is free ("greedy by size": Pisarchyk and Lee, Efficient Memory Management for Deep
// Neural Net Inference, 2020). Returns the arena's size.
std::size_t place(std::vector<Block>& blocks, std::size_t alignment, const Apart& apart = {});

}  // namespace maru::planning
