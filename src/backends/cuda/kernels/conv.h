// What the functions of conv_f16.cu, conv_f32.cu and conv_tf32.cu take: a convolution of images in
// channels_last as a product of matrices, output pixels x (taps x channels) by that x outputs.
//
// Everything is read in chunks of 16 bytes: 8 channels of f16, 4 of f32. Weights are a row for each
// output: taps in order, the channels of each padded to whole chunks, and the row to whole steps of 8
// chunks. "_pixels": f16 with 4 channels a pixel, a chunk is two pixels of a row, and a row of taps is
// padded to whole chunks.
#pragma once

#include <cstdint>

#include "backends/cuda/kernels/activation.h"

namespace maru::cuda {

constexpr int kChunkBytes = 16;
constexpr int kStepChunks = 8;  // along a row of weights, loaded at once
constexpr int kMostTaps = 15;   // along one axis
constexpr int kMostSplits = 8;  // blocks of a cluster, everywhere

// Output pixels by outputs that a block computes, and loads in flight. "conv_f16_128x64" takes a block
// of conv_threads().
struct ConvTile {
  int pixels, outputs, stages;
};
constexpr ConvTile kConvTiles[] = {{128, 128, 3}, {128, 64, 3}, {64, 64, 4}, {64, 32, 5}, {32, 32, 8}};
constexpr int conv_threads(const ConvTile& tile) {
  return tile.pixels * tile.outputs > 8192 ? 256 : 128;
}
constexpr unsigned conv_shared_bytes(const ConvTile& tile) {
  return static_cast<unsigned>(tile.stages * (tile.pixels + tile.outputs) * kStepChunks * kChunkBytes);
}
// Of its sums, which follow what was loaded: rows of pixels, a little apart for the banks.
constexpr int conv_sums_pitch(int outputs) { return outputs + 8; }
constexpr unsigned conv_sums_bytes(const ConvTile& tile) {
  return static_cast<unsigned>(tile.pixels * conv_sums_pitch(tile.outputs)) * 4;
}

// The grid is tiles of outputs of all groups, fastest, by tiles of pixels; 1; splits.
struct ConvParams {
  const void* src;
  const void* weights;
  const float* bias;  // null: none
  void* dst;
  // Not null: sums of each split, [split][pixel][output of all groups], for conv_sum to finish.
  // Null with more splits than one: they are a cluster.
  float* partial;
  Activation activation;
  std::int64_t src_pixel_stride, dst_pixel_stride;  // in elements; images follow without a gap
  std::int32_t height, width, out_height, out_width;
  std::int32_t kernel_h, kernel_w, stride_h, stride_w, pad_h, pad_w, dilation_h, dilation_w;
  std::int32_t pixels;           // of all images of dst
  std::int32_t outputs, groups;  // outputs of one group
  std::int32_t tap_chunks;       // of one tap; "_pixels": of a row of taps
  std::int32_t steps;            // of a row of weights
  std::int32_t group_tiles;      // of outputs
};

// conv_sum_f16, conv_sum_f32: a thread for each result, outputs fastest.
struct ConvSumParams {
  const float* partial;
  const float* bias;
  void* dst;
  Activation activation;
  std::int64_t dst_pixel_stride;
  std::int32_t pixels, outputs, splits;  // outputs of all groups
};

}  // namespace maru::cuda
