// Small help with constants that kernels want in a form of their own. Constants may lie anywhere in a
// file, so they are copied before they are read as floats.
#pragma once

#include <cstring>
#include <span>
#include <vector>

namespace maru::opencl {

inline std::vector<float> floats_of(std::span<const std::byte> bytes) {
  std::vector<float> values(bytes.size() / sizeof(float));
  std::memcpy(values.data(), bytes.data(), values.size() * sizeof(float));
  return values;
}

inline std::span<float> as_floats(std::span<std::byte> bytes) {
  return {reinterpret_cast<float*>(bytes.data()), bytes.size() / sizeof(float)};
}

// A float that may lie at any address.
inline float float_at(const std::byte* from) {
  float value;
  std::memcpy(&value, from, sizeof value);
  return value;
}

}  // namespace maru::opencl
