// Convolution of images in blocks of V channels. A work item computes a tile of P pixels by B blocks of
// outputs, all of it in registers; the program is built once for each P and B. Where tensors are halves,
// weights are, too; sums and biases are floats.
//
// Weights are packed [group][tile of outputs][block of inputs][kernel row][kernel column][input][B * V]
// with the inputs of a block rounded up to 4, so that they are read front to back; biases
// [group][tile of outputs][B * V]. bench/kernels/opencl_conv.cpp tells how this came to be.
//
// x: tiles of pixels, for each group and tile of outputs; z: image.

#define ROLLED _Pragma("nounroll")  // saves compile time where speed does not matter
#if V == 4
#define ROLLED_IF_WIDE UNROLL
#else
#define ROLLED_IF_WIDE ROLLED
#endif
#define ROUND_UP_4(n) (((n) + 3) & ~3)
#define LINE 48  // pixels that a line has room for

// What all functions take.
#define OPERANDS                                                                                     \
  __global const stored *restrict src, ulong src_offset, __global stored *restrict dst,               \
      ulong dst_offset, __global const stored *restrict weights, ulong weights_offset,               \
      __global const float *restrict biases, ulong biases_offset, int has_bias, ulong src_stride,    \
      ulong dst_stride, int inputs, int outputs, int out_tiles, int pixel_tiles, int groups,         \
      float alpha, float scale, float shift
#define GEOMETRY                                                                                     \
  int row_tiles, int height, int width, int kernel_height, int kernel_width, int stride_y,           \
      int stride_x, int pad_y, int pad_x, int dilation_y, int dilation_x, int dst_height,            \
      int dst_width

// Which tile this work item has, and its sums, which begin with the bias.
#define BEGIN_TILE(weights_of_tile)                                                               \
  const int pixel_tile = get_global_id(0) % pixel_tiles, out = get_global_id(0) / pixel_tiles;    \
  if (out >= groups * out_tiles) return;                                                          \
  const int group = out / out_tiles, tile = out % out_tiles;                                      \
  src += src_offset + get_global_id(2) * src_stride;                                              \
  dst += dst_offset + get_global_id(2) * dst_stride;                                              \
  weights += weights_offset + (ulong)out * (weights_of_tile)*B * V;                               \
  floatv sums[B][P];                                                                              \
  UNROLL for (int b = 0; b < B; ++b) {                                                            \
    floatv start = 0.0f;                                                                          \
    if (has_bias) start = LOADV(out * B + b, biases + biases_offset);                             \
    UNROLL for (int p = 0; p < P; ++p) sums[b][p] = start;                                        \
  }

// Adds `x`, which depends on p, times the weights of one input channel.
#define MULTIPLY_ADD(x)                                                  \
  {                                                                      \
    floatv weight[B];                                                    \
    UNROLL for (int b = 0; b < B; ++b) weight[b] = READV(b, weights);    \
    weights += B * V;                                                    \
    UNROLL for (int p = 0; p < P; ++p) {                                 \
      const float value = (x);                                           \
      UNROLL for (int b = 0; b < B; ++b) sums[b][p] += value * weight[b]; \
    }                                                                    \
  }

#if V == 4
// Registers hand out single elements for nothing on GPUs and ARM.
#define MULTIPLY_BLOCK(from, count)                                  \
  {                                                                  \
    floatv pixel[P];                                                 \
    UNROLL for (int p = 0; p < P; ++p) pixel[p] = LOADV(p, from);    \
    MULTIPLY_ADD(pixel[p].s0)                                        \
    MULTIPLY_ADD(pixel[p].s1)                                        \
    MULTIPLY_ADD(pixel[p].s2)                                        \
    MULTIPLY_ADD(pixel[p].s3)                                        \
  }
#else
// A wide register is filled with one element most cheaply while it is loaded.
#define MULTIPLY_BLOCK(from, count)             \
  ROLLED for (int c = 0; c < (count); c += 4) { \
    MULTIPLY_ADD((from)[p * V + c])             \
    MULTIPLY_ADD((from)[p * V + c + 1])         \
    MULTIPLY_ADD((from)[p * V + c + 2])         \
    MULTIPLY_ADD((from)[p * V + c + 3])         \
  }
#endif

// Stores the pixels [begin, end) of the tile, whose first is at dst. On a processor results go through
// memory, so that what is done to each is compiled once and not P * B times.
#define STORE_TILE(begin, end)                                                               \
  floatv results[B * P];                                                                     \
  UNROLL for (int b = 0; b < B; ++b) {                                                       \
    UNROLL for (int p = 0; p < P; ++p) results[b * P + p] = sums[b][p];                      \
  }                                                                                          \
  ROLLED_IF_WIDE for (int b = 0; b < B; ++b) {                                               \
    const int channel = (tile * B + b) * V;                                                  \
    if (channel >= outputs) break;                                                           \
    ROLLED_IF_WIDE for (int p = 0; p < P; ++p) {                                             \
      if (p < (begin) || p >= (end)) continue;                                               \
      floatv result = ACTIVATE(results[b * P + p], alpha, scale, shift);                     \
      if (channel + V > outputs) result = only_channels(result, channel, outputs);           \
      WRITEV(result, p, dst + (ulong)b * dst_plane);                                         \
    }                                                                                        \
  }

// A kernel of one pixel, stride 1, no padding; at least P pixels, which follow each other across rows.
MARU_LARGE_KERNEL conv_flat(OPERANDS, int pixels) {
  BEGIN_TILE(ROUND_UP_4(inputs))
  const int wanted = pixel_tile * P, first = min(wanted, pixels - P);
  const int plane = pixels * V, dst_plane = plane;
  src += (ulong)group * (inputs / V) * plane + first * V;
  dst += ((ulong)group * (outputs / V) + tile * B) * plane + first * V;
  for (int channel = 0; channel < inputs; channel += V, src += plane) {
#ifdef HALF
    float line[P * V];  // each element becomes a float once
    UNROLL for (int p = 0; p < P; ++p) STOREV(READV(p, src), p, line);
    MULTIPLY_BLOCK(line, min(V, inputs - channel))
#else
    MULTIPLY_BLOCK(src, min(V, inputs - channel))
#endif
  }
  STORE_TILE(wanted - first, P)
}

// Any kernel, stride, padding and dilation. Tiles lie within rows (row_tiles of each) or, when that is 0,
// follow the pixels across rows. What a tile reads is first put in a line of its own, with zeros for the
// padding: with stride 1 and tiles within rows, once for all columns of the kernel.
MARU_LARGE_KERNEL conv_line(OPERANDS, GEOMETRY) {
  BEGIN_TILE(ROUND_UP_4(inputs) * kernel_height * kernel_width)
  const int plane = height * width * V, dst_plane = dst_height * dst_width * V;
  const int row = row_tiles > 0 ? pixel_tile / row_tiles : 0;
  const int column = (row_tiles > 0 ? pixel_tile % row_tiles : pixel_tile) * P;
  const int end = row_tiles > 0 ? dst_width : dst_height * dst_width;
  src += (ulong)group * (inputs / V) * plane;
  dst += ((ulong)group * (outputs / V) + tile * B) * dst_plane + (row * dst_width + column) * V;
  int ys[P], xs[P];  // of each pixel's first input; may be outside
  ROLLED_IF_WIDE for (int p = 0; p < P; ++p) {
    const int y = row_tiles > 0 ? row : (column + p) / dst_width;
    const int x = row_tiles > 0 ? column + p : (column + p) % dst_width;
    ys[p] = y * stride_y - pad_y;
    xs[p] = x * stride_x - pad_x;
  }
#if V > 4
  const int reach = P + (kernel_width - 1) * dilation_x;
  const bool is_shared = row_tiles > 0 && stride_x == 1 && reach <= LINE;
  float line[LINE * V];
#else
  const bool is_shared = false;
  float line[P * V];  // stays in registers
#endif
  for (int channel = 0; channel < inputs; channel += V, src += plane) {
    const int count = min(V, inputs - channel);
    for (int ky = 0; ky < kernel_height; ++ky) {
      if (is_shared) {
        const int y = ys[0] + ky * dilation_y;
        if (y < 0 || y >= height) {
          weights += kernel_width * ROUND_UP_4(count) * B * V;
          continue;
        }
#if V > 4
        ROLLED for (int i = 0; i < reach; ++i) {
          const int x = xs[0] + i;
          STOREV(x >= 0 && x < width ? READV(y * width + x, src) : (floatv)(0.0f), i, line);
        }
#endif
      }
      for (int kx = 0; kx < kernel_width; ++kx) {
        if (!is_shared) {
          ROLLED_IF_WIDE for (int p = 0; p < P; ++p) {
            const int y = ys[p] + ky * dilation_y, x = xs[p] + kx * dilation_x;
            const bool is_inside = y >= 0 && y < height && x >= 0 && x < width;
            STOREV(is_inside ? READV(y * width + x, src) : (floatv)(0.0f), p, line);
          }
        }
        const float* from = line + (is_shared ? kx * dilation_x * V : 0);
        MULTIPLY_BLOCK(from, count)
      }
    }
  }
  STORE_TILE(0, end - column)
}

// From plain channels, few of them; one group, tiles within rows. Weights are packed
// [tile of outputs][input][kernel row][kernel column][B * V].
MARU_LARGE_KERNEL conv_first(OPERANDS, GEOMETRY) {
  BEGIN_TILE(inputs * kernel_height * kernel_width)
  const int dst_plane = dst_height * dst_width * V;
  const int row = pixel_tile / row_tiles, column = pixel_tile % row_tiles * P;
  dst += (ulong)tile * B * dst_plane + (row * dst_width + column) * V;
  const int left = column * stride_x - pad_x;
  const int reach = (P - 1) * stride_x + (kernel_width - 1) * dilation_x + 1;
  const bool is_whole = left >= 0 && left + reach <= width;
  for (int channel = 0; channel < inputs; ++channel, src += height * width) {
    for (int ky = 0; ky < kernel_height; ++ky) {
      const int y = row * stride_y - pad_y + ky * dilation_y;
      if (y < 0 || y >= height) {
        weights += kernel_width * B * V;
        continue;
      }
      __global const stored* from = src + y * width;
#if defined(HALF) && V > 4
      if (reach <= LINE) {
        float line[LINE];  // each element becomes a float once
        ROLLED for (int i = 0; i < reach; ++i) {
          line[i] = left + i >= 0 && left + i < width ? READ(left + i, from) : 0.0f;
        }
        for (int kx = 0; kx < kernel_width; ++kx) MULTIPLY_ADD(line[kx * dilation_x + p * stride_x])
        continue;
      }
#endif
      for (int kx = 0; kx < kernel_width; ++kx) {
        const int x = left + kx * dilation_x;
        if (is_whole) {
          MULTIPLY_ADD(READ(x + p * stride_x, from))
        } else {
          MULTIPLY_ADD(x + p * stride_x >= 0 && x + p * stride_x < width ? READ(x + p * stride_x, from) : 0.0f)
        }
      }
    }
  }
  STORE_TILE(0, dst_width - column)
}
