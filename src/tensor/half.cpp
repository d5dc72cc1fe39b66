#include "tensor/half.h"

#include <bit>

#include "base/error.h"

namespace maru {
namespace {

// Single precision: 1 sign, 8 exponent, 23 mantissa. Half: 1, 5, 10.
constexpr std::uint32_t kSign = 0x80000000U, kInfinity = 0x7F800000U;
constexpr std::uint32_t kLeastOverflow = 0x477FF000U;  // 65520: half way beyond the largest half
constexpr std::uint32_t kLeastNormal = 0x38800000U;    // 2^-14
constexpr int kDropped = 13;                           // bits of mantissa

// value / 2^bits to the nearest whole number, ties to even.
constexpr std::uint32_t shifted_to_even(std::uint32_t value, int bits) {
  const std::uint32_t odd = (value >> bits) & 1U;
  return (value + (1U << (bits - 1)) - 1U + odd) >> bits;
}

}  // namespace

std::uint16_t to_half(float value) noexcept {
  const auto bits = std::bit_cast<std::uint32_t>(value);
  const std::uint32_t sign = (bits & kSign) >> 16, magnitude = bits & ~kSign;
  std::uint32_t half = 0;
  if (magnitude > kInfinity) {
    half = 0x7E00U | ((magnitude >> kDropped) & 0x3FFU);  // quiet, with what fits of its payload
  } else if (magnitude >= kLeastOverflow) {
    half = 0x7C00U;
  } else if (magnitude >= kLeastNormal) {
    // A mantissa that rounds up to the next power of two carries into the exponent, as it should.
    half = shifted_to_even(magnitude - ((127U - 15U) << 23), kDropped);
  } else {
    // In units of 2^-24, the least half. What is below a quarter of it is nothing.
    const int exponent = static_cast<int>(magnitude >> 23);
    const int shift = 126 - exponent;
    if (shift <= 24) half = shifted_to_even((magnitude & 0x7FFFFFU) | 0x800000U, shift);
  }
  return static_cast<std::uint16_t>(sign | half);
}

float from_half(std::uint16_t half) noexcept {
  const std::uint32_t sign = (half & 0x8000U) << 16, exponent = (half >> 10) & 0x1FU,
                      mantissa = half & 0x3FFU;
  if (exponent == 0) {
    const float magnitude = static_cast<float>(mantissa) * 0x1p-24F;
    return sign != 0 ? -magnitude : magnitude;
  }
  const std::uint32_t widened = exponent == 0x1FU ? 0xFFU : exponent + (127U - 15U);
  return std::bit_cast<float>(sign | (widened << 23) | (mantissa << kDropped));
}

void to_halves(std::span<const float> values, std::span<std::uint16_t> halves) noexcept {
  for (std::size_t i = 0; i < values.size(); ++i) halves[i] = to_half(values[i]);
}

}  // namespace maru
