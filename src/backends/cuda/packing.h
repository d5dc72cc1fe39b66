// Small help with constants that kernels want in a form of their own. Constants may lie anywhere in a
// file, so they are copied before they are read as floats.
#pragma once

#include <cstring>
#include <span>
#include <vector>

#include "tensor/half.h"

namespace maru::cuda {

inline std::vector<float> floats_of(std::span<const std::byte> bytes) {
  std::vector<float> values(bytes.size() / sizeof(float));
  std::memcpy(values.data(), bytes.data(), values.size() * sizeof(float));
  return values;
}

inline std::span<float> as_floats(std::span<std::byte> bytes) {
  return {reinterpret_cast<float*>(bytes.data()), bytes.size() / sizeof(float)};
}

inline std::span<std::uint16_t> as_halves(std::span<std::byte> bytes) {
  return {reinterpret_cast<std::uint16_t*>(bytes.data()), bytes.size() / sizeof(std::uint16_t)};
}

}  // namespace maru::cuda
