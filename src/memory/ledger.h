// Ledger: counts every byte that a session moves from one place to another, and why. Owned by a
// session; one thread writes. Its entries are fixed when the plan is made, so that counting allocates
// nothing.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <vector>

namespace maru {

class Ledger {
 public:
  struct Entry {
    std::string step;      // name of the plan's step
    std::string tensor;    // name of the value that crosses
    std::string cause;     // why the planner chose to copy
    std::string from, to;  // names of the heaps
    bool crosses = false;  // from memory of one side to memory of the other; else within one
    std::uint64_t times = 0;
    std::uint64_t bytes = 0;
    double seconds = 0;  // 0: not measured, since other work ran with it in one launch
  };

  // Returns the index to count on.
  std::size_t open(Entry entry) {
    entries_.push_back(std::move(entry));
    return entries_.size() - 1;
  }
  void count(std::size_t entry, std::size_t bytes, double seconds) noexcept {
    entries_[entry].times += 1;
    entries_[entry].bytes += bytes;
    entries_[entry].seconds += seconds;
  }
  std::span<const Entry> entries() const noexcept { return entries_; }
  std::uint64_t bytes() const noexcept {
    std::uint64_t sum = 0;
    for (const Entry& entry : entries_) sum += entry.bytes;
    return sum;
  }
  std::uint64_t crossed_bytes() const noexcept {
    std::uint64_t sum = 0;
    for (const Entry& entry : entries_) sum += entry.crosses ? entry.bytes : 0;
    return sum;
  }

 private:
  std::vector<Entry> entries_;
};

}  // namespace maru
