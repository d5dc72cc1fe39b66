// TensorDesc: what a tensor is, without where it lives: element type, shape and layout. Plain values.
#pragma once

#include <maru/types.h>

#include <cstdint>
#include <string>
#include <string_view>

#include "tensor/shape.h"

namespace maru {

std::size_t size_of(DType dtype) noexcept;                 // bytes of one element
std::string_view to_string(DType dtype) noexcept;          // "f32"
std::string_view to_string(Precision precision) noexcept;  // "fp32"

// How the elements of an N x C x spatial tensor follow each other in memory.
struct Layout {
  enum class Kind : std::uint8_t {
    any,            // not planned yet
    plain,          // row-major, last axis fastest: NCHW
    channels_last,  // NHWC
    blocked,        // N, C/block, spatial, block: oneDNN's nChw16c and nChw8c
    opaque,         // a kernel's own form of a constant; only that kernel reads it
  };

  Kind kind = Kind::plain;
  int block = 1;  // channels in a block; 1 unless blocked
  // Channels of the stored tensor in which this one is a window (a slice of a concatenation);
  // 0 where the tensor stands alone.
  std::int64_t stored_channels = 0;

  static constexpr Layout any() { return {Kind::any, 1, 0}; }
  static constexpr Layout plain() { return {Kind::plain, 1, 0}; }
  static constexpr Layout channels_last() { return {Kind::channels_last, 1, 0}; }
  static constexpr Layout blocked(int channels) { return {Kind::blocked, channels, 0}; }
  static constexpr Layout opaque() { return {Kind::opaque, 1, 0}; }

  bool is_window() const noexcept { return stored_channels != 0; }
  Layout dense() const noexcept { return {kind, block, 0}; }
  Layout window_of(std::int64_t channels) const noexcept { return {kind, block, channels}; }
  std::string str() const;  // "nchw", "nhwc", "nChw16c", "nChw16c[480]"

  bool operator==(const Layout&) const = default;
};

struct TensorDesc {
  DType dtype = DType::f32;
  Shape shape;
  Layout layout = Layout::plain();

  std::int64_t count() const noexcept { return shape.count(); }
  // Bytes from the first element to the end of the last, padding of blocks included. For a window
  // this reaches over its neighbours in every image but the last.
  std::size_t bytes() const;
  // Distance in elements between consecutive images of the stored tensor.
  std::int64_t image_stride() const;
  // Where channel `channel` of image 0 begins, in elements; `channel` must be a multiple of the block.
  std::int64_t channel_offset(std::int64_t channel) const;

  TensorDesc with(Layout other) const { return {dtype, shape, other}; }
  std::string str() const;  // "f32 1x64x112x112 nChw16c"

  bool operator==(const TensorDesc&) const = default;
};

// True when the two layouts place every element of `shape` at the same offset, whatever they are
// called, and still do so as windows of a larger tensor (for one pixel, NCHW and NHWC are the same
// bytes).
bool same_bytes(const Shape& shape, Layout a, Layout b);

// A typed look at host memory; does not own.
struct TensorView {
  TensorDesc desc;
  void* data = nullptr;

  template <class T>
  T* as() const {
    return static_cast<T*>(data);
  }
};

}  // namespace maru
