// What the functions of conv_grad_f16.cu, conv_grad_f32.cu and conv_grad_tf32.cu take: the gradient of
// a convolution's weights, of images in channels_last, as a product of matrices: outputs x pixels by
// pixels x columns (taps x channels). "conv_grad_f16_128x64" makes 128 outputs by 64 columns a block.
//
// Everything is read in chunks of 16 bytes, as conv.h says: a column chunk is 8 channels of a tap in
// f16, 4 in f32; "_pixels": f16 with 4 channels a pixel, two pixels of a row. Pixels are shared out
// between splits; the sums of each lie in memory for conv_grad_sum, which adds them in their order, so
// that the same operands always give the same bits.
#pragma once

#include "backends/cuda/kernels/both.h"

namespace maru::cuda {

struct ConvGradTile {
  int outputs, columns;
};
constexpr ConvGradTile kConvGradTiles[] = {{128, 128}, {128, 64}, {64, 128}, {64, 64}};
constexpr int kConvGradStages = 3;  // loads in flight
// Pixels that are loaded at once.
MARU_BOTH constexpr int conv_grad_step(int element_bytes) { return element_bytes == 2 ? 64 : 32; }
MARU_BOTH constexpr int conv_grad_threads(const ConvGradTile& tile) {
  return tile.outputs * tile.columns > 8192 ? 256 : 128;
}
MARU_BOTH constexpr unsigned conv_grad_stage_bytes(const ConvGradTile& tile, int element_bytes) {
  return static_cast<unsigned>((tile.outputs + tile.columns) * conv_grad_step(element_bytes) *
                               element_bytes);
}

// Which weight a column of sums belongs to. A line of taps is line_length columns, a tap tap_length.
struct ConvGradColumns {
  std::int64_t output_step, channel_step, tap_step;  // in the result, in elements
  std::int32_t count;                                // columns, those of no weight included
  std::int32_t line_length, tap_length;
  std::int32_t line_taps, channels;
};

// In elements of the result; -1: none. `output`: of all groups.
MARU_BOTH constexpr std::int64_t weight_of(const ConvGradColumns& c, std::int32_t output,
                                           std::int32_t column) {
  const std::int32_t line = column / c.line_length, rest = column - line * c.line_length;
  const std::int32_t tap = rest / c.tap_length, channel = rest - tap * c.tap_length;
  if (column >= c.count || tap >= c.line_taps || channel >= c.channels) return -1;
  return output * c.output_step + channel * c.channel_step +
         (static_cast<std::int64_t>(line) * c.line_taps + tap) * c.tap_step;
}

// The grid is tiles of columns, fastest, by tiles of outputs, by groups; splits.
struct ConvGradParams {
  const void* data;
  const void* gradient;
  float* partial;  // [split][output of all groups][column]; null: there is one split, for the result
  void* result;
  ConvGradColumns columns;
  std::int64_t data_pixel_stride, gradient_pixel_stride;    // in elements; images follow without a gap
  Divider by_width, by_height;                              // of gradient
  std::int32_t height, width, result_height, result_width;  // of data; of gradient
  std::int32_t kernel_w, stride_h, stride_w, pad_h, pad_w, dilation_h, dilation_w;
  std::int32_t pixels;                      // of all images of gradient
  std::int32_t outputs, groups;             // outputs of one group
  std::int32_t group_chunks;                // of data, of one group; 0 where there is but one
  std::int32_t tap_chunks;                  // of one tap; "_pixels": of a line of taps
  std::int32_t column_chunks;               // of all taps
  std::int32_t steps;                       // of pixels, of all splits
  std::int32_t column_tiles, output_tiles;  // of a group
  std::int32_t is_half;                     // the result
};

// conv_grad_sum_f16, conv_grad_sum_f32, by the result's type: blocks of 32 x 8 threads, 32 sums each.
constexpr int kConvGradSums = 32, kConvGradSummands = 8;
struct ConvGradSumParams {
  const float* partial;
  void* result;
  ConvGradColumns columns;
  std::int32_t outputs, splits;  // outputs of all groups
};

}  // namespace maru::cuda
