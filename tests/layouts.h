// Tensors for tests: values in double, drawn with a fixed seed, packed into any layout and read back.
#pragma once

#include <cstring>
#include <random>
#include <span>
#include <vector>

#include "memory/heap.h"
#include "tensor/half.h"
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

// Element `index` of f32 or f16 in memory; f16 is rounded to.
inline void store(DType dtype, std::byte* memory, std::int64_t index, double value) {
  const auto single = static_cast<float>(value);
  const std::uint16_t half = to_half(single);
  const std::size_t size = size_of(dtype);
  const void* from = dtype == DType::f16 ? static_cast<const void*>(&half) : &single;
  std::memcpy(memory + static_cast<std::size_t>(index) * size, from, size);
}

inline double load(DType dtype, const std::byte* memory, std::int64_t index) {
  float single = 0;
  std::uint16_t half = 0;
  const std::size_t size = size_of(dtype);
  void* to = dtype == DType::f16 ? static_cast<void*>(&half) : &single;
  std::memcpy(to, memory + static_cast<std::size_t>(index) * size, size);
  return double{dtype == DType::f16 ? from_half(half) : single};
}

// Values into the bytes of a tensor of f32 or f16; what no element covers (padding, neighbours) is left
// alone.
inline void write(const TensorDesc& desc, std::span<const double> values, std::span<std::byte> bytes) {
  for (std::size_t i = 0; i < values.size(); ++i)
    store(desc.dtype, bytes.data(), position(desc, static_cast<std::int64_t>(i)), values[i]);
}

inline std::vector<double> read(const TensorDesc& desc, std::span<const std::byte> bytes) {
  std::vector<double> values(static_cast<std::size_t>(desc.count()));
  for (std::size_t i = 0; i < values.size(); ++i)
    values[i] = load(desc.dtype, bytes.data(), position(desc, static_cast<std::int64_t>(i)));
  return values;
}

}  // namespace maru::testing
