// Window: how a kernel slides over two spatial axes; shared by convolution and pooling.
#pragma once

#include <array>
#include <cstdint>

#include "ops/operator.h"

namespace maru {

struct Window {
  std::array<std::int64_t, 2> kernel{1, 1};  // height, width; all in pixels
  std::array<std::int64_t, 2> stride{1, 1};
  std::array<std::int64_t, 2> pad{0, 0};       // on both sides
  std::array<std::int64_t, 2> dilation{1, 1};  // 1: neighbours

  template <class Self, class V>
  static void fields(Self& self, V&& visit) {
    visit("kernel", self.kernel);
    visit("stride", self.stride);
    visit("pad", self.pad);
    visit("dilation", self.dilation);
  }

  // Pixels from the first to the last tap, inclusive.
  std::int64_t reach(std::size_t axis) const { return dilation[axis] * (kernel[axis] - 1) + 1; }
  // Throws Error for a kernel, stride or dilation below 1, a negative pad, or any of them beyond 2^24
  // (so that nothing computed from them overflows).
  void check() const;
  // Also for a kernel larger than the padded input.
  void check(std::int64_t height, std::int64_t width) const;

  // Caffe's spelling: kernel_size/kernel_h/kernel_w and so on. Throws Error when both forms are given
  // or the kernel is missing; where none is wanted (global pooling), when there is one.
  static Window from_caffe(const AttrReader& reader, bool wants_kernel = true);

  bool operator==(const Window&) const = default;
};

// Throws Error unless the tensor has this many axes.
void require_rank(const TensorDesc& desc, std::size_t rank);

}  // namespace maru
