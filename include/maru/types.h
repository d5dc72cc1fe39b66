// Plain types that both maru's users and its rooms speak of.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <vector>

namespace maru {

enum class DType : std::uint8_t { f32, f16, f64, u8, i32 };

// Where tensors live when the CPU and another device both use them (see docs/devices.md).
enum class MemoryPolicy : std::uint8_t {
  automatic,  // per tensor, from its readers and writers and from what this machine's memory does
  copy,       // host and device memory apart, kept equal by copies: what Caffe does
  zero_copy,  // everything in memory that both see
};

// What a network is computed in.
enum class Precision : std::uint8_t {
  fp32,  // single precision
  tf32,  // tensors in single precision; where the device has units for it, factors of products are
         // rounded to 10 bits of mantissa
  fp16,  // tensors in half precision, sums in single; what the caller reads and writes stays as it is
};

// How a photo becomes the network's input tensor.
struct Preprocessing {
  enum class Channels : std::uint8_t { bgr, rgb };
  enum class Resize : std::uint8_t {
    squash,  // the whole photo, whatever its aspect ratio
    crop,    // the largest centred part with the input's aspect ratio
  };

  Channels channels = Channels::bgr;
  Resize resize = Resize::squash;
  std::vector<float> mean{104, 117,
                          123};  // in levels of 0..255, in the order of `channels`; 1 or 3 values
  float scale = 1;               // (level - mean) * scale

  bool operator==(const Preprocessing&) const = default;
};

// A typed look at memory that maru planned; row-major, valid until the next run. Does not own.
struct TensorSpan {
  DType dtype = DType::f32;
  std::vector<std::int64_t> shape;
  std::span<std::byte> bytes;

  template <class T>
  std::span<T> as() const {
    return {reinterpret_cast<T*>(bytes.data()), bytes.size() / sizeof(T)};
  }
};

}  // namespace maru
