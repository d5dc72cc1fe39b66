// Preprocess: photos of any size, as decoded, to the input tensor of a network. No model file has it;
// it is put in front of a graph.
#pragma once

#include <maru/types.h>

#include "ops/operator.h"
#include "vision/resize.h"

namespace maru {

// src: pixels u8 N x capacity, one buffer of interleaved RGB; frames i32 N x 4, see Frame.
// dst: `dtype` N x 3 x height x width, each (resized level - mean) * scale; resizing and its roundings
// are
//      those of vision/resize.h.
struct Preprocess {
  static constexpr std::string_view kName = "preprocess";

  // One row of the operand `frames`: where a photo lies.
  struct Frame {
    std::int32_t height, width;  // pixels
    std::int32_t row_bytes;      // from one row of pixels to the next
    std::int32_t offset_16;      // from the start of `pixels`, in units

    static constexpr std::int64_t kUnit = 16;  // bytes

    bool operator==(const Frame&) const = default;
  };

  std::int64_t height = 0, width = 0;  // 1 to 2^15
  Preprocessing how = {};              // 1 or 3 means
  DType dtype = DType::f32;            // of the result: f32 or f16

  template <class Self, class V>
  static void fields(Self& self, V&& visit) {
    visit("height", self.height);
    visit("width", self.width);
    visit("mean", self.how.mean);
    visit("scale", self.how.scale);
    visit("channels", self.how.channels);
    visit("resize", self.how.resize);
    visit("dtype", self.dtype);
  }

  std::vector<TensorDesc> infer(Descs src) const;
  Cost cost(Descs src, Descs dst) const;
  // Also to f64, whose values are those of f32.
  void reference(Views src, Views dst) const;

  // For kernels: what vision's preprocess() wants, and photo `n`. Throws Error when the frame is empty
  // or leaves `pixels`: frames are the caller's input, seen only when the graph runs.
  Normalise normalise() const;
  static ConstPixelView photo(Views src, std::int64_t n);

  bool operator==(const Preprocess&) const = default;
};

std::string_view to_string(Preprocessing::Channels channels) noexcept;
std::string_view to_string(Preprocessing::Resize resize) noexcept;
Operator preprocess_operator();

}  // namespace maru
