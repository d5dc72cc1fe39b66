// Order against a count of bytes, and what placing does with it.
#include "plan/order.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <random>
#include <set>

#include "plan/arena.h"

namespace maru::planning {
namespace {

// Every byte by itself: what a footprint covers of region 0 and 1.
std::set<std::size_t> bytes_of(const std::vector<Footprint>& all) {
  std::set<std::size_t> bytes;
  for (const Footprint& f : all) {
    f.each_run([&](std::size_t begin, std::size_t end) {
      for (std::size_t b = begin; b < end; ++b) bytes.insert(f.region * 10000 + b);
    });
  }
  return bytes;
}

bool meet(const std::set<std::size_t>& a, const std::set<std::size_t>& b) {
  return std::ranges::any_of(a, [&](std::size_t byte) { return b.contains(byte); });
}

TEST(Order, FollowsFromTheBytesThatStepsTouch) {
  std::mt19937 random(7);
  std::size_t edges = 0, unordered = 0;
  for (int round = 0; round < 200; ++round) {
    std::vector<bool> in_row(1 + random() % 30);
    for (auto&& may : in_row) may = random() % 8 > 0;
    const std::vector<std::size_t> rows = rows_of(in_row);
    std::vector<Accesses> steps(in_row.size());
    const auto draw = [&] {
      const std::size_t count = 1 + random() % 3, length = 1 + random() % 8;
      return Footprint{random() % 2, random() % 100, length, length + random() % 20, count};
    };
    for (std::size_t i = 0; i < steps.size(); ++i) {
      steps[i].row = rows[i];
      for (std::size_t k = random() % 3; k > 0; --k) steps[i].reads.push_back(draw());
      for (std::size_t k = random() % 2 + 1; k > 0; --k) steps[i].writes.push_back(draw());
    }
    const Order order(steps);
    std::vector<std::vector<bool>> before(steps.size(), std::vector<bool>(steps.size()));
    for (std::size_t i = 0; i < steps.size(); ++i) {
      const auto reads = bytes_of(steps[i].reads), writes = bytes_of(steps[i].writes);
      std::vector<bool> direct(steps.size());
      for (std::size_t j = 0; j < i; ++j) {
        const auto earlier_writes = bytes_of(steps[j].writes);
        direct[j] = j < rows[i] || meet(writes, earlier_writes) || meet(reads, earlier_writes) ||
                    meet(writes, bytes_of(steps[j].reads));
        if (!direct[j]) continue;
        before[i][j] = true;
        for (std::size_t k = 0; k < j; ++k) before[i][k] = before[i][k] || before[j][k];
      }
      std::vector<std::size_t> reduced;  // of its row, and not by way of another
      for (std::size_t j = rows[i]; j < i; ++j) {
        bool is_short = before[i][j];
        for (std::size_t k = j + 1; k < i; ++k) is_short = is_short && !(before[i][k] && before[k][j]);
        if (is_short) reduced.push_back(j);
      }
      EXPECT_EQ(order.after(i), reduced) << "round " << round << " step " << i;
      for (std::size_t j = 0; j < steps.size(); ++j) {
        EXPECT_EQ(order.precedes(j, i), before[i][j]) << "round " << round << ": " << j << ", " << i;
        unordered += j < i && !before[i][j];
      }
      edges += reduced.size();
    }
  }
  EXPECT_GT(edges, 1000U);
  EXPECT_GT(unordered, 1000U);
}

TEST(Order, RowsEndAtOtherSteps) {
  EXPECT_EQ(rows_of({}), std::vector<std::size_t>{});
  EXPECT_EQ(rows_of({true, true, false, true, false, false, true, true, true}),
            (std::vector<std::size_t>{0, 0, 2, 3, 4, 5, 6, 6, 6}));
  const std::vector<std::size_t> rows = rows_of(std::vector<bool>(2 * kLongestRow + 1, true));
  EXPECT_EQ(rows[kLongestRow - 1], 0U);
  EXPECT_EQ(rows[kLongestRow], kLongestRow);
  EXPECT_EQ(rows[2 * kLongestRow], 2 * kLongestRow);
}

TEST(Arena, BlocksThatMayMeetNeverOverlap) {
  std::mt19937 random(3);
  for (int round = 0; round < 200; ++round) {
    std::vector<Block> blocks;
    for (std::size_t i = 1 + random() % 40; i > 0; --i) {
      const std::size_t first = random() % 20;
      blocks.push_back({1 + random() % 5000, first, first + random() % (20 - first)});
    }
    std::vector<Block> alone = blocks;
    const std::size_t count = blocks.size();
    std::vector<bool> drawn(count * count);
    for (auto&& apart : drawn) apart = random() % 4 == 0;
    const Apart apart = [&](std::size_t a, std::size_t b) {
      return drawn[std::min(a, b) * count + std::max(a, b)];
    };
    const std::size_t arena = place(blocks, 64, apart);
    EXPECT_EQ(place(alone, 64, [](std::size_t, std::size_t) { return true; }), [&] {
      std::size_t sum = 0;
      for (const Block& block : blocks) sum += (block.bytes + 63) / 64 * 64;
      return sum;
    }()) << "nothing shares where all are apart";
    for (std::size_t i = 0; i < count; ++i) {
      const Block& a = blocks[i];
      EXPECT_EQ(a.offset % 64, 0U);
      EXPECT_LE(a.offset + a.bytes, arena);
      for (std::size_t j = 0; j < i; ++j) {
        const Block& b = blocks[j];
        const bool is_together = a.first <= b.last && b.first <= a.last;
        const bool is_disjoint = a.offset + a.bytes <= b.offset || b.offset + b.bytes <= a.offset;
        EXPECT_TRUE(is_disjoint || !(is_together || apart(i, j))) << "blocks " << i << " and " << j;
      }
    }
  }
}

}  // namespace
}  // namespace maru::planning
