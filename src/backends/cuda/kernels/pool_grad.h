// The parameters of pool_most_* and pool_grad_*: the gradient of pooling. A plain struct, for both
// sides, and where the windows lie that hold a pixel.
//
// Of a maximum, pool_most_* notes for each window which of its taps has it, and pool_grad_* then asks
// the windows that hold a pixel. Each pixel of the result is written once, by one thread, its windows
// summed in order: the same bits each time.
#pragma once

#include "backends/cuda/kernels/both.h"
#include "backends/cuda/kernels/pool.h"

namespace maru::cuda {

struct PoolGradParams {
  const void* gradient;
  const void* src;  // a maximum's
  void* taps;       // per window of a maximum: which of its taps has it, row by row
  void* dst;
  // Of `taps`: dense, pixels of so many channels that vectors of them are aligned.
  ImageStrides gradient_strides, src_strides, tap_strides, dst_strides;
  std::uint32_t images, channels;
  bool is_gradient_aligned, is_src_aligned, is_dst_aligned;
  PoolWindow window;  // of the pooling: its dst is where `gradient` is
};

// On one axis: the windows [first, last) of `windows` that hold the pixel.
struct WindowSpan {
  std::int32_t first, last;
};
MARU_BOTH constexpr WindowSpan windows_with(const PoolWindow& window, int axis, std::int32_t windows,
                                            std::int32_t pixel) {
  const std::int32_t at = pixel + window.pad[axis], behind = at - window.kernel[axis];
  const std::int32_t first = behind < 0 ? 0 : behind / window.stride[axis] + 1;
  const std::int32_t last = at / window.stride[axis] + 1;
  return {first, last < windows ? last : windows};
}

// On one axis of `pixels`: the pixels [begin, end) of the image that a window holds, from what would be
// its first were there no border, and how many an average divides by.
struct TapSpan {
  std::int32_t origin, begin, end, counted;
};
MARU_BOTH constexpr TapSpan taps_with(const PoolWindow& window, int axis, std::int32_t pixels,
                                      std::int32_t at) {
  const std::int32_t origin = at * window.stride[axis] - window.pad[axis];
  const std::int32_t behind = origin + window.kernel[axis], border = pixels + window.pad[axis];
  const std::int32_t stop = behind < border ? behind : border;
  const std::int32_t begin = origin < 0 ? 0 : origin, end = stop < pixels ? stop : pixels;
  const bool is_padded = window.kind == PoolWindow::Kind::average_padded;
  return {origin, begin, end, is_padded ? stop - origin : end - begin};
}

}  // namespace maru::cuda
