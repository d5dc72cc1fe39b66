// Random numbers that follow from a seed and a position alone, and the order of an epoch. Stateless but
// for Draws, which belongs to whoever made it; any thread.
#pragma once

#include <array>
#include <cstdint>

namespace maru {

// One sequence of random numbers for each seed, position and purpose: Philox4x32-10.
class Draws {
 public:
  enum class Purpose : std::uint32_t { order = 1, augment = 2, stand_in = 3 };

  Draws(std::uint64_t seed, std::uint64_t position, Purpose purpose)
      : seed_(seed), position_(position), purpose_(purpose) {}

  double uniform();                         // 0 or more, below 1
  double uniform(double low, double high);  // low or more, below high
  std::int64_t below(std::int64_t n);       // 0 or more, below n; n is 1 or more

 private:
  std::uint32_t word();

  std::uint64_t seed_, position_;
  Purpose purpose_;
  std::uint32_t used_ = 0;
  std::array<std::uint32_t, 4> words_{};
};

// What stands at place `k` of 0..n-1 in the order of an epoch: a permutation that needs no memory. A
// Feistel network of random functions is one (Luby and Rackoff 1988: four rounds cannot be told from a
// random permutation); here are eight rounds of Philox, over the next larger power of four; results of
// n or more are sent through again.
std::int64_t shuffled(std::int64_t k, std::int64_t n, std::uint64_t seed, std::uint64_t epoch);

}  // namespace maru
