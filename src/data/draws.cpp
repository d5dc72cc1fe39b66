#include "data/draws.h"

#include <bit>

#include "base/error.h"
#include "ops/dropout.h"

namespace maru {
namespace {

std::uint32_t low(std::uint64_t value) { return static_cast<std::uint32_t>(value); }
std::uint32_t high(std::uint64_t value) { return static_cast<std::uint32_t>(value >> 32); }

// Above what any counter uses of its word.
constexpr std::uint32_t kPurposeShift = 28;

constexpr int kRounds = 8;
// Halves of at least 4 bits: permutations of very few things are no worse than others.
constexpr int kLeastHalf = 4;

}  // namespace

std::uint32_t Draws::word() {
  if (used_ % 4 == 0) {
    words_ = philox({low(position_), high(position_), used_ / 4,
                     static_cast<std::uint32_t>(purpose_) << kPurposeShift},
                    {low(seed_), high(seed_)});
  }
  return words_[used_++ % 4];
}

double Draws::uniform() { return word() * 0x1p-32; }

double Draws::uniform(double from, double to) { return from + (to - from) * uniform(); }

std::int64_t Draws::below(std::int64_t n) {
  MARU_ASSERT(n >= 1);
  // 64 bits on n numbers: none is likelier than another by more than n / 2^64.
  const std::uint64_t upper = word();
  const std::uint64_t bits = upper << 32 | word();
  return static_cast<std::int64_t>(bits % static_cast<std::uint64_t>(n));
}

std::int64_t shuffled(std::int64_t k, std::int64_t n, std::uint64_t seed, std::uint64_t epoch) {
  MARU_ASSERT(k >= 0 && k < n);
  const int bits = std::bit_width(static_cast<std::uint64_t>(n - 1));
  const int half = bits + 1 > 2 * kLeastHalf ? (bits + 1) / 2 : kLeastHalf;
  const std::uint64_t mask = (std::uint64_t{1} << half) - 1;
  auto at = static_cast<std::uint64_t>(k);
  do {
    std::uint64_t left = at >> half, right = at & mask;
    for (std::uint32_t round = 0; round < kRounds; ++round) {
      const auto words = philox(
          {low(right), round | low(epoch) << 4, low(epoch >> 28),
           high(epoch >> 28) | static_cast<std::uint32_t>(Draws::Purpose::order) << kPurposeShift},
          {low(seed), high(seed)});
      const std::uint64_t mixed = left ^ (words[0] & mask);
      left = right;
      right = mixed;
    }
    at = left << half | right;
  } while (at >= static_cast<std::uint64_t>(n));
  return static_cast<std::int64_t>(at);
}

}  // namespace maru
