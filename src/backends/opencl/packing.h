// Small help with constants that kernels want in a form of their own. Constants may lie anywhere in a
// file, so they are copied before they are read as floats.
#pragma once

#include <cstdint>
#include <cstring>
#include <span>
#include <vector>

#include "tensor/half.h"

namespace maru::opencl {

inline std::vector<float> floats_of(std::span<const std::byte> bytes) {
  std::vector<float> values(bytes.size() / sizeof(float));
  std::memcpy(values.data(), bytes.data(), values.size() * sizeof(float));
  return values;
}

inline std::span<float> as_floats(std::span<std::byte> bytes) {
  return {reinterpret_cast<float*>(bytes.data()), bytes.size() / sizeof(float)};
}

// Bytes of an element of packed weights, and what tells forms with such elements from others.
inline std::size_t packed_element(bool is_half) { return is_half ? 2 : sizeof(float); }
inline const char* packed_suffix(bool is_half) { return is_half ? ", halves" : ""; }

// Packed weights, to be written as floats or as halves. Does not own.
class PackedFloats {
 public:
  PackedFloats(std::span<std::byte> bytes, bool is_half) : bytes_(bytes), is_half_(is_half) {}

  std::size_t size() const { return bytes_.size() / packed_element(is_half_); }
  void set(std::size_t i, float value) {
    if (is_half_) {
      reinterpret_cast<std::uint16_t*>(bytes_.data())[i] = to_half(value);
    } else {
      reinterpret_cast<float*>(bytes_.data())[i] = value;
    }
  }

 private:
  std::span<std::byte> bytes_;
  bool is_half_;
};

// A float that may lie at any address.
inline float float_at(const std::byte* from) {
  float value;
  std::memcpy(&value, from, sizeof value);
  return value;
}

}  // namespace maru::opencl
