// Tensors for tests: values in double, drawn with a fixed seed, packed into any layout and read back.
#pragma once

#include <cstring>
#include <random>
#include <span>
#include <vector>

#include "memory/heap.h"
#include "tensor/tensor_desc.h"

namespace maru::testing {

inline std::vector<double> draw(std::int64_t count, double low, double high, std::mt19937& random) {
  std::vector<double> values(static_cast<std::size_t>(count));
  for (double& value : values) {
    // Floats, so that the kernel under test and the reference see the same numbers.
    value = static_cast<float>(low + (high - low) * (random() / 4294967296.0));
  }
  return values;
}

// Position in elements of element `index` (row-major) of a tensor in its layout.
inline std::int64_t position(const TensorDesc& desc, std::int64_t index) {
  if (desc.shape.rank() < 2 || desc.layout.kind == Layout::Kind::opaque) return index;
  const std::int64_t pixels = desc.shape.count(2, desc.shape.rank());
  const std::int64_t pixel = index % pixels, channel = index / pixels % desc.shape[1];
  const std::int64_t image = index / pixels / desc.shape[1] * desc.image_stride();
  if (desc.layout.kind == Layout::Kind::channels_last) {
    return image + pixel * (desc.image_stride() / pixels) + channel;
  }
  const std::int64_t block = desc.layout.block;
  return image + (channel / block * pixels + pixel) * block + channel % block;
}

// f32 values into the bytes of a tensor; what no element covers (padding, neighbours) is left alone.
inline void write(const TensorDesc& desc, std::span<const double> values, std::span<std::byte> bytes) {
  for (std::size_t i = 0; i < values.size(); ++i) {
    const auto value = static_cast<float>(values[i]);
    const auto at = static_cast<std::size_t>(position(desc, static_cast<std::int64_t>(i)));
    std::memcpy(bytes.data() + at * sizeof value, &value, sizeof value);
  }
}

inline std::vector<double> read(const TensorDesc& desc, std::span<const std::byte> bytes) {
  std::vector<double> values(static_cast<std::size_t>(desc.count()));
  for (std::size_t i = 0; i < values.size(); ++i) {
    float value = 0;
    const auto at = static_cast<std::size_t>(position(desc, static_cast<std::int64_t>(i)));
    std::memcpy(&value, bytes.data() + at * sizeof value, sizeof value);
    values[i] = value;
  }
  return values;
}

}  // namespace maru::testing
