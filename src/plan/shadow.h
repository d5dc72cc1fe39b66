// Shadow: what a plan's check knows of each byte of a region at one point of the plan. Internal to the
// room `plan`; one thread.
#pragma once

#include <cstddef>
#include <iterator>
#include <map>

namespace maru::planning {

// Alike for a run of bytes. Work of the device is numbered from 1 in the order of its queue.
struct ByteState {
  static constexpr std::size_t kNobody = static_cast<std::size_t>(-2);  // or what is there is gone

  std::size_t writer = kNobody;  // the last: a step of the dataflow, or its kCaller
  std::size_t device_write = 0;  // the last of the device; 0: none
  std::size_t device_read = 0;
  std::size_t readers = 0;    // since it was written: a list of RowOrder's
  std::size_t hand_over = 0;  // in which the CPU wrote it last; 0: none

  bool operator==(const ByteState&) const = default;
};

class Shadow {
 public:
  explicit Shadow(ByteState all = {}) { runs_[0] = all; }

  // visit(begin, end, state) for each run of equal bytes in [begin, end); it may change the state.
  template <class Visit>
  void each(std::size_t begin, std::size_t end, Visit&& visit) {
    if (begin >= end) return;
    auto at = split(begin);
    const auto last = split(end);
    while (at != last) {
      const auto next = std::next(at);
      visit(at->first, next == runs_.end() ? end : next->first, at->second);
      if (at != runs_.begin() && std::prev(at)->second == at->second) runs_.erase(at);
      at = next;
    }
    if (last != runs_.end() && last != runs_.begin() && std::prev(last)->second == last->second)
      runs_.erase(last);
  }

  void set(std::size_t begin, std::size_t end, const ByteState& state) {
    if (begin >= end) return;
    const auto first = split(begin);
    const auto last = split(end);
    first->second = state;
    runs_.erase(std::next(first), last);
  }

 private:
  // A run that begins there.
  std::map<std::size_t, ByteState>::iterator split(std::size_t at) {
    const auto after = runs_.upper_bound(at);
    const auto before = std::prev(after);
    if (before->first == at) return before;
    return runs_.emplace_hint(after, at, before->second);
  }

  std::map<std::size_t, ByteState> runs_;  // by first byte; each until the next
};

}  // namespace maru::planning
