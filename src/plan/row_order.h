// RowOrder: of the device's work, what has ended when the next begins, by the edges of a plan alone;
// and lists of who reads the same bytes. What a plan's check asks. Internal to the room `plan`; one
// thread.
#pragma once

#include <algorithm>
#include <cstddef>
#include <span>
#include <utility>
#include <vector>

namespace maru::planning {

// Work is numbered from 1 in the order in which it is given; 0 is nothing, which has ended.
class RowOrder {
 public:
  // The next work. Where it is the first of a row, all before it has ended; else `after` of its row.
  void begin(bool is_first, std::span<const std::size_t> after) {
    ++now_;
    fresh_.clear();
    if (is_first) {
      row_ = now_;
      ended_.clear();
    }
    std::vector<bool>& mine = ended_.emplace_back(now_ - row_);
    for (const std::size_t work : after) {
      const std::vector<bool>& others = ended_[work - row_];
      for (std::size_t i = 0; i < others.size(); ++i) mine[i] = mine[i] || others[i];
      mine[work - row_] = true;
    }
  }

  std::size_t now() const { return now_; }
  std::size_t row() const { return row_; }
  bool has_ended(std::size_t work) const { return work < row_ || ended_.back()[work - row_]; }

  // The list with the present work before the others, which are kept as far as they are of its row.
  std::size_t with_reader(std::size_t list) {
    if (readers_[list].work < row_) list = 0;
    if (readers_[list].work == now_) return list;
    const auto known = std::ranges::find(fresh_, list, &std::pair<std::size_t, std::size_t>::first);
    if (known != fresh_.end()) return known->second;
    readers_.push_back({now_, list});
    fresh_.emplace_back(list, readers_.size() - 1);
    return readers_.size() - 1;
  }

  // A reader in the list that has not ended, and is not the present work; 0: there is none.
  std::size_t unended_reader(std::size_t list) const {
    for (; list != 0; list = readers_[list].next) {
      const std::size_t work = readers_[list].work;
      if (work != now_ && !has_ended(work)) return work;
    }
    return 0;
  }

 private:
  struct Reader {
    std::size_t work, next;  // next: a list; 0: the empty one
  };
  std::size_t now_ = 0, row_ = 0;
  std::vector<std::vector<bool>> ended_{};  // per work of the row, when it begins
  std::vector<Reader> readers_{{0, 0}};
  std::vector<std::pair<std::size_t, std::size_t>> fresh_;  // lists, and what now reads beside them
};

}  // namespace maru::planning
