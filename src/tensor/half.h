// Halves: IEEE 754 binary16, as 16 bits in memory. Conversions in software, the same on every machine
// and compiler. Plain functions; any thread may call them.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>

namespace maru {

// The nearest half, ties to even: infinity from 65520 on, denormals below 2^-14. NaN stays NaN.
std::uint16_t to_half(float value) noexcept;
// Exact.
float from_half(std::uint16_t half) noexcept;

// The nearest value that a half can have.
inline float rounded_to_half(float value) noexcept { return from_half(to_half(value)); }

// Both of one size.
void to_halves(std::span<const float> values, std::span<std::uint16_t> halves) noexcept;

}  // namespace maru
