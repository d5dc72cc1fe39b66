// MARU_BOTH: before functions that both the CPU's code and functions of the module call. Divider: such
// a division by a number that is known before the launch.
#pragma once

#include <cstdint>

#ifdef __CUDACC__
#define MARU_BOTH __host__ __device__
#else
#define MARU_BOTH
#endif

namespace maru::cuda {

// Of numbers below 2^31, by a multiplication (Granlund and Montgomery, 1994).
struct Divider {
  std::uint32_t multiplier, shift;
};

constexpr Divider divider_of(std::int32_t divisor) {
  const auto by = static_cast<std::uint64_t>(divisor);
  std::uint32_t shift = 0;
  while (std::uint64_t{1} << shift < by) ++shift;
  return {static_cast<std::uint32_t>((((std::uint64_t{1} << shift) - by) << 32) / by + 1), shift};
}

MARU_BOTH constexpr std::int32_t divide(std::int32_t value, const Divider& by) {
  const auto n = static_cast<std::uint32_t>(value);
  const auto high = static_cast<std::uint32_t>((std::uint64_t{by.multiplier} * n) >> 32);
  return static_cast<std::int32_t>((high + n) >> by.shift);
}

}  // namespace maru::cuda
