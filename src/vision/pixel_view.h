// PixelView, ConstPixelView: pictures in memory that somebody else owns. Interleaved RGB, one byte per
// channel; row y starts at data + y * row_bytes, and what lies between 3 * width and row_bytes is never
// touched. Plain values; as safe to share between threads as the memory they point to.
#pragma once

#include <cstddef>
#include <cstdint>

namespace maru {

struct PixelView {
  std::uint8_t* data = nullptr;
  int width = 0;
  int height = 0;
  std::size_t row_bytes = 0;

  std::uint8_t* row(int y) const { return data + static_cast<std::size_t>(y) * row_bytes; }
};

struct ConstPixelView {
  const std::uint8_t* data = nullptr;
  int width = 0;
  int height = 0;
  std::size_t row_bytes = 0;

  ConstPixelView() = default;
  ConstPixelView(const std::uint8_t* pixels, int w, int h, std::size_t bytes)
      : data(pixels), width(w), height(h), row_bytes(bytes) {}
  ConstPixelView(
      const PixelView& view)  // NOLINT(google-explicit-constructor): reading is always allowed
      : ConstPixelView(view.data, view.width, view.height, view.row_bytes) {}

  const std::uint8_t* row(int y) const { return data + static_cast<std::size_t>(y) * row_bytes; }
};

}  // namespace maru
