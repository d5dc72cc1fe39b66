// Order: which steps of a row must follow which others of it, by the bytes that they touch; all other
// steps follow what is before them. Internal to the room `plan`. A value.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "plan/footprint.h"

namespace maru::planning {

struct Accesses {
  std::size_t row = 0;                   // index of the first step of its row (rows_of)
  std::vector<Footprint> reads, writes;  // workspaces are written
};

class Order {
 public:
  Order() = default;
  // Two steps of a row keep their order where one writes bytes that the other reads or writes.
  explicit Order(std::span<const Accesses> steps);

  // Of its row, what a step must follow, ascending; without what these in turn follow.
  const std::vector<std::size_t>& after(std::size_t step) const { return steps_[step].after; }

  // Whether `step` begins when `earlier` has ended.
  bool precedes(std::size_t earlier, std::size_t step) const {
    if (earlier >= step) return false;
    if (earlier < steps_[step].row) return true;
    const std::size_t bit = earlier - steps_[step].row;
    return (steps_[step].before[bit / 64] >> (bit % 64) & 1) != 0;
  }

 private:
  struct Known {
    std::size_t row = 0;
    std::vector<std::size_t> after;
    std::vector<std::uint64_t> before;  // a bit for each earlier step of the row
  };
  std::vector<Known> steps_;
};

// Step::after of every step, from the bytes where the plan has put them.
void order_steps(Plan& plan);

}  // namespace maru::planning
