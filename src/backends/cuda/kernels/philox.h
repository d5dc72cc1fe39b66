// Philox4x32-10 as ops/dropout.h has it, and which elements a dropout keeps, for both sides.
#pragma once

#include <cstdint>

#include "backends/cuda/kernels/both.h"

namespace maru::cuda {

struct PhiloxWords {
  std::uint32_t at[4];
};

MARU_BOTH constexpr PhiloxWords philox_words(std::uint64_t group, std::uint64_t step,
                                             std::uint64_t seed) {
  constexpr std::uint64_t kMultiplier0 = 0xD2511F53, kMultiplier1 = 0xCD9E8D57;
  constexpr std::uint32_t kWeyl0 = 0x9E3779B9, kWeyl1 = 0xBB67AE85;
  PhiloxWords counter{{static_cast<std::uint32_t>(group), static_cast<std::uint32_t>(group >> 32),
                       static_cast<std::uint32_t>(step), static_cast<std::uint32_t>(step >> 32)}};
  std::uint32_t key0 = static_cast<std::uint32_t>(seed), key1 = static_cast<std::uint32_t>(seed >> 32);
  for (int round = 0; round < 10; ++round) {
    const std::uint64_t a = kMultiplier0 * counter.at[0], b = kMultiplier1 * counter.at[2];
    counter = {
        {static_cast<std::uint32_t>(b >> 32) ^ counter.at[1] ^ key0, static_cast<std::uint32_t>(b),
         static_cast<std::uint32_t>(a >> 32) ^ counter.at[3] ^ key1, static_cast<std::uint32_t>(a)}};
    key0 += kWeyl0;
    key1 += kWeyl1;
  }
  return counter;
}

// A dropout as functions take it. An element is kept where its word is not below the bound.
struct DropoutTerms {
  std::uint64_t seed;
  std::uint64_t bound;  // the ratio times 2^32, rounded up
  float factor;         // of what is kept
};

// Whether the element of this index, in the order of the plain layout, is kept in a step.
MARU_BOTH constexpr bool keeps(const DropoutTerms& terms, std::uint64_t step, std::uint64_t index) {
  const PhiloxWords words = philox_words(index / 4, step, terms.seed);
  const std::uint32_t low = index % 2 == 0 ? words.at[0] : words.at[1];
  const std::uint32_t high = index % 2 == 0 ? words.at[2] : words.at[3];
  return (index % 4 < 2 ? low : high) >= terms.bound;
}

}  // namespace maru::cuda
