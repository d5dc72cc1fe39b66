// Bilinear resizing and the preprocessing of an image network: from the bytes of a photo, whatever its
// size, to the floats of the input tensor. Pure functions over memory of the caller; they keep no
// state, so any number of threads may call them on different destinations.
//
// The arithmetic is that of OpenCV 4's resize(..., INTER_LINEAR) for 8-bit pictures, bit for bit: pixel
// centres at (i + 0.5) * src / dst - 0.5, two taps per axis with weights of 11 bits, no widening of the
// filter when shrinking, edges repeated. Networks were trained and their scores recorded with these
// roundings. (OpenCV takes its area filter for exactly half the size; with these weights it is the
// same.)
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>

#include "vision/pixel_view.h"

namespace maru {

// Where one coordinate of the result comes from: (first_weight * src[first] + second_weight *
// src[second]) / 2048. The weights sum to 2048, both coordinates lie inside of the source. The same
// rule for x and y.
struct ResizeTap {
  std::int32_t first = 0;
  std::int32_t second = 0;
  std::int16_t first_weight = 0;
  std::int16_t second_weight = 0;
};

// 0 <= dst < dst_size. For kernels elsewhere (GPU) that need the same taps.
ResizeTap resize_tap(int dst, int dst_size, int src_size);

// Bytes to bytes; neither picture empty, not overlapping. Allocates its own workspace: for tests and
// tools.
void resize_bilinear(ConstPixelView src, PixelView dst);
// The same in memory of the caller: `workspace` as that of preprocess(), of so many bytes at least.
std::size_t resize_workspace_bytes(int dst_width);
void resize_bilinear(ConstPixelView src, PixelView dst, std::span<std::byte> workspace);

struct Normalise {
  enum class Fit {
    squash,  // the whole picture, its aspect ratio given up
    crop,    // centre_crop() of it
  };
  float mean[3] = {0, 0, 0};  // in the order of the output's channels: {104, 117, 123} with bgr
  float scale = 1;            // applied after the mean
  bool bgr = false;           // order of the output's channels: blue first, else red first
  Fit fit = Fit::squash;
};

struct CropRect {
  int x = 0, y = 0, width = 0, height = 0;
};

// The largest rectangle in the centre of src that has the shape of dst: one side is that of src, the
// other is src_width * dst_height / dst_width or its like, rounded to the nearest (half up) but at
// least 1; what is left over is halved, the odd pixel falling to the right or the bottom.
CropRect centre_crop(int src_width, int src_height, int dst_width, int dst_height);

// Bytes that preprocess() needs for a result of this width, whatever the source and the height.
std::size_t preprocess_workspace_bytes(int dst_width);

// src: RGB, any size. dst: dst_width x dst_height floats for each of 3 planes, one after the other
// (CHW): (float(resized byte) - mean) * scale. Reads only the source rows that it needs; allocates
// nothing. `workspace` may be anywhere, needs no alignment, and belongs to this call alone while it
// runs.
void preprocess(ConstPixelView src, const Normalise& normalise, int dst_width, int dst_height,
                float* dst, std::span<std::byte> workspace);

}  // namespace maru
