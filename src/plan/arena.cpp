#include "plan/arena.h"

#include <algorithm>
#include <numeric>

namespace maru::planning {

std::size_t place(std::vector<Block>& blocks, std::size_t alignment, const Apart& apart) {
  const auto round_up = [&](std::size_t bytes) {
    return (bytes + alignment - 1) / alignment * alignment;
  };
  std::vector<std::size_t> by_size(blocks.size());
  std::iota(by_size.begin(), by_size.end(), std::size_t{0});
  std::ranges::stable_sort(
      by_size, [&](std::size_t a, std::size_t b) { return blocks[a].bytes > blocks[b].bytes; });
  std::vector<const Block*> placed;  // by offset
  std::size_t arena = 0;
  for (const std::size_t index : by_size) {
    Block& block = blocks[index];
    std::size_t offset = 0;
    for (const Block* other : placed) {
      const bool is_together = block.first <= other->last && other->first <= block.last;
      const auto other_index = static_cast<std::size_t>(other - blocks.data());
      if (!is_together && !(apart && apart(index, other_index))) continue;
      if (offset + block.bytes <= other->offset) break;
      offset = std::max(offset, round_up(other->offset + other->bytes));
    }
    block.offset = offset;
    placed.insert(std::ranges::upper_bound(placed, offset, {}, &Block::offset), &block);
    arena = std::max(arena, round_up(offset + block.bytes));
  }
  return arena;
}

}  // namespace maru::planning
