// What conv_pack_* take: weights that change, laid out in rows as the functions of conv.h read them; by
// what they give and, where it is another type, what they take. A block for 32 rows by 32 elements.
// conv_expand_f16, conv_expand_f32: images spread over larger ones, with zeros between.
#pragma once

#include "backends/cuda/kernels/both.h"

namespace maru::cuda {

constexpr int kPackTile = 32, kPackRows = 8;  // threads of a block are 32 x 8

// A row is lines of taps, a line is `columns` taps, a tap is `channels`; each may be longer than what
// is in it, and what is left is zero. Steps lead from one to the next in src, in elements.
struct ConvPackParams {
  const void* src;
  void* dst;
  const void* bias;  // null, or halves that become floats, one a row
  float* float_bias;
  std::int64_t first;  // of row 0, tap 0, channel 0
  std::int64_t group_step, outer_step, row_step, line_step, tap_step, channel_step;
  std::int32_t groups, rows;  // rows of one group
  std::int32_t inner_rows;    // that row_step leads through, before outer_step
  std::int32_t row_length, line_length, tap_length;
  std::int32_t lines, columns, channels;
  std::int32_t rows_are_neighbours;  // in src, and channels are not
};

// Where an element comes from; -1: it is zero. `row`: of all groups.
MARU_BOTH constexpr std::int64_t packed_from(const ConvPackParams& p, std::int32_t row,
                                             std::int32_t element) {
  const std::int32_t line = element / p.line_length, rest = element - line * p.line_length;
  const std::int32_t column = rest / p.tap_length, channel = rest - column * p.tap_length;
  if (line >= p.lines || column >= p.columns || channel >= p.channels) return -1;
  const std::int32_t group = row / p.rows, own = row - group * p.rows;
  const std::int32_t outer = own / p.inner_rows, inner = own - outer * p.inner_rows;
  return p.first + group * p.group_step + outer * p.outer_step + inner * p.row_step +
         line * p.line_step + column * p.tap_step + channel * p.channel_step;
}

// A thread for 16 bytes of channels of a pixel of dst. Pixel (y, x) of dst is pixel ((y + pad_h) /
// stride_h, (x + pad_w) / stride_w) of src, where these are whole and inside; else zero.
struct ConvExpandParams {
  const void* src;
  void* dst;
  std::int64_t src_pixel_stride, dst_pixel_stride;  // in elements; images follow without a gap
  std::int32_t images, channels;
  std::int32_t height, width, src_height, src_width;
  std::int32_t stride_h, stride_w, pad_h, pad_w;
  std::int32_t is_aligned;  // both, to 16 bytes
};

// The pixel of src, counted through all images; -1: none.
MARU_BOTH constexpr std::int64_t expanded_from(const ConvExpandParams& p, std::int64_t pixel) {
  const std::int64_t line = pixel / p.width, image = line / p.height;
  const auto y = static_cast<std::int32_t>(line - image * p.height) + p.pad_h;
  const auto x = static_cast<std::int32_t>(pixel - line * p.width) + p.pad_w;
  if (y % p.stride_h != 0 || x % p.stride_w != 0) return -1;
  if (y / p.stride_h >= p.src_height || x / p.stride_w >= p.src_width) return -1;
  return (image * p.src_height + y / p.stride_h) * p.src_width + x / p.stride_w;
}

}  // namespace maru::cuda
