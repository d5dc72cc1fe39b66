// Pool: maximum or average of each window, channel by channel. A family: max and average pooling, over
// windows or over the whole image.
#pragma once

#include "ops/window.h"

namespace maru {

// src: data N x C x H x W. dst: N x C x OH x OW, for each axis with `in` pixels
//   out = ceil((in + 2 pad - kernel) / stride) + 1, or floor,
//   and where there is any padding, one less if the last window would begin behind the input
// (Caffe: pooling_param, PoolingLayer::Reshape). A window may thus hang over the padded input. Without
// padding, a window behind the input is an Error; what Caffe computes for it means nothing. The maximum
// is of the pixels in the input; the average is their sum over `divisor`.
struct Pool {
  static constexpr std::string_view kName = "pool";
  enum class Kind : std::uint8_t { max, average };
  enum class Divisor : std::uint8_t {
    padded,  // taps that lie before in + pad: padding counts, what hangs over does not (Caffe)
    valid,   // taps in the input (ONNX: count_include_pad 0)
  };

  Kind kind = Kind::max;
  Window window;        // its dilation must be 1, its pads smaller than the kernel
  bool global = false;  // the kernel is the whole image; the window stays 1x1, stride 1, pad 0
  bool ceil = true;     // Caffe: round_mode
  Divisor divisor = Divisor::padded;

  template <class Self, class V>
  static void fields(Self& self, V&& visit) {
    visit("kind", self.kind);
    Window::fields(self.window, visit);
    visit("global", self.global);
    visit("ceil", self.ceil);
    visit("divisor", self.divisor);
  }

  // Where one window lies on one axis: the taps in the input, and how many the divisor counts.
  struct Taps {
    std::int64_t begin, end, counted;
  };
  // Of the window `out` of those that slide over `in` pixels on this axis.
  Taps taps(const Window& slid, std::size_t axis, std::int64_t in, std::int64_t out) const;

  // The window as it slides over this input: `window`, or the whole image when global.
  Window window_for(const TensorDesc& src) const;
  // OH and OW. Throws Error as infer() does.
  std::array<std::int64_t, 2> output_extents(const TensorDesc& src) const;

  std::vector<TensorDesc> infer(Descs src) const;
  Cost cost(Descs src, Descs dst) const;
  void reference(Views src, Views dst) const;

  bool operator==(const Pool&) const = default;
};

std::string_view to_string(Pool::Kind kind) noexcept;
std::string_view to_string(Pool::Divisor divisor) noexcept;
Operator pool_operator();

}  // namespace maru
