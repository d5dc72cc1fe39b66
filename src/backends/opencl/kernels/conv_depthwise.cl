// Depthwise convolution: each channel by itself, images in blocks of V channels. Sums are made for P pixels
// of a row at a time; a work item does that for item_tiles places of item_rows rows of one block. Weights
// are packed [block][kernel row][kernel column][V], halves where tensors are; biases are floats.
//
// x: parts of a row, for each part of the rows, for each block; z: image.

MARU_LARGE_KERNEL conv_depthwise(__global const stored* restrict src, ulong src_offset,
                           __global stored* restrict dst, ulong dst_offset,
                           __global const stored* restrict weights, ulong weights_offset,
                           __global const float* restrict biases, ulong biases_offset, int has_bias,
                           ulong src_stride, ulong dst_stride, int channels, float alpha, float scale,
                           float shift, int row_tiles, int item_tiles, int item_rows, int height, int width, int kernel_height,
                           int kernel_width, int stride_y, int stride_x, int pad_y, int pad_x,
                           int dilation_y, int dilation_x, int dst_height, int dst_width) {
  const int row_parts = (row_tiles + item_tiles - 1) / item_tiles;
  const int parts = (dst_height + item_rows - 1) / item_rows;
  const int part = get_global_id(0) / row_parts, block = part / parts;
  if (block * V >= channels) return;
  const int first_tile = get_global_id(0) % row_parts * item_tiles, first_row = part % parts * item_rows;
  src += src_offset + get_global_id(2) * src_stride + (ulong)block * height * width * V;
  dst += dst_offset + get_global_id(2) * dst_stride + (ulong)block * dst_height * dst_width * V;
  weights += weights_offset + block * kernel_height * kernel_width * V;
  floatv start = 0.0f;
  if (has_bias) start = LOADV(block, biases + biases_offset);
  for (int row = first_row; row < min(first_row + item_rows, dst_height); ++row) {
    for (int tile = first_tile; tile < min(first_tile + item_tiles, row_tiles); ++tile) {
      const int column = tile * P;
      floatv sums[P];
      UNROLL for (int p = 0; p < P; ++p) sums[p] = start;
      const int left = column * stride_x - pad_x;
      const int reach = (P - 1) * stride_x + (kernel_width - 1) * dilation_x + 1;
      const bool is_whole = left >= 0 && left + reach <= width;
      for (int ky = 0; ky < kernel_height; ++ky) {
        const int y = row * stride_y - pad_y + ky * dilation_y;
        if (y < 0 || y >= height) continue;
        __global const stored* from = src + y * width * V;
        for (int kx = 0; kx < kernel_width; ++kx) {
          const floatv weight = READV(ky * kernel_width + kx, weights);
          const int first = left + kx * dilation_x;
          if (is_whole) {
            UNROLL for (int p = 0; p < P; ++p) sums[p] += weight * READV(first + p * stride_x, from);
          } else {
            UNROLL for (int p = 0; p < P; ++p) {
              const int x = first + p * stride_x;
              if (x >= 0 && x < width) sums[p] += weight * READV(x, from);
            }
          }
        }
      }
      UNROLL for (int p = 0; p < P; ++p) {
        if (column + p >= dst_width) continue;
        const floatv result = ACTIVATE(sums[p], alpha, scale, shift);
        WRITEV(only_channels(result, block * V, channels), row * dst_width + column + p, dst);
      }
    }
  }
}
