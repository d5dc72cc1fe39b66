// Winograd's convolution F(4x4, 3x3) (Lavin and Gray, "Fast Algorithms for Convolutional Neural
// Networks", 2016): the input goes to 36 planes, each of which is a 1x1 convolution (conv_flat of conv.cl,
// 36 groups), and what comes out goes back. Images in blocks of V channels, as many as fill blocks.
//
// Planes are floats [36][block][tile][V], also where images are halves. A launch does `tiles` tiles, of all images in turn, from first_tile on.
// x: tile, for each block.

#define ROLLED _Pragma("nounroll")  // 36 vectors are more than registers hold; memory serves as well

// Rows of the matrices B^T and A^T of the paper, for the points 0, 1, -1, 2, -2.
#define TO_PLANES(d, step, to)                                                                  \
  {                                                                                             \
    const floatv d0 = (d)[0], d1 = (d)[step], d2 = (d)[2 * step], d3 = (d)[3 * step],           \
                 d4 = (d)[4 * step], d5 = (d)[5 * step];                                        \
    const floatv even = d4 - 4.0f * d2, odd = d3 - 4.0f * d1, far = d4 - d2,                    \
                 twice = 2.0f * (d3 - d1);                                                      \
    to(0, 4.0f * d0 - 5.0f * d2 + d4) to(1, even + odd) to(2, even - odd) to(3, far + twice)    \
        to(4, far - twice) to(5, 4.0f * d1 - 5.0f * d3 + d5)                                    \
  }
#define FROM_PLANES(m, step, to)                                                                \
  {                                                                                             \
    const floatv m0 = (m)[0], m5 = (m)[5 * step];                                               \
    const floatv near_sum = (m)[step] + (m)[2 * step], near = (m)[step] - (m)[2 * step];        \
    const floatv far_sum = (m)[3 * step] + (m)[4 * step], far = (m)[3 * step] - (m)[4 * step];  \
    to(0, m0 + near_sum + far_sum) to(1, near + 2.0f * far) to(2, near_sum + 4.0f * far_sum)    \
        to(3, near + 8.0f * far + m5)                                                           \
  }

MARU_LARGE_KERNEL winograd_src(__global const stored* restrict src, ulong src_offset,
                               __global float* restrict planes, ulong planes_offset,
                               ulong src_stride, int blocks, int tiles, int first_tile, int across,
                               int down, int height, int width, int pad_y, int pad_x) {
  const int tile = get_global_id(0) % tiles, block = get_global_id(0) / tiles;
  if (block >= blocks) return;
  const int place = (first_tile + tile) % (across * down), image = (first_tile + tile) / (across * down);
  const int top = place / across * 4 - pad_y, left = place % across * 4 - pad_x;
  src += src_offset + image * src_stride + (ulong)block * height * width * V;
  planes += planes_offset + ((ulong)block * tiles + tile) * V;
  const ulong plane = (ulong)blocks * tiles;
  floatv patch[36];
  ROLLED for (int x = 0; x < 6; ++x) {
    floatv column[6];
    ROLLED for (int y = 0; y < 6; ++y) {
      const bool is_inside = top + y >= 0 && top + y < height && left + x >= 0 && left + x < width;
      column[y] = is_inside ? READV((top + y) * width + left + x, src) : (floatv)(0.0f);
    }
#define TO_PATCH(y, value) patch[(y)*6 + x] = value;
    TO_PLANES(column, 1, TO_PATCH)
  }
  ROLLED for (int y = 0; y < 6; ++y) {
#define TO_PLANE(x, value) STOREV(value, (y * 6 + (x)) * plane, planes);
    TO_PLANES(patch + y * 6, 1, TO_PLANE)
  }
}

MARU_LARGE_KERNEL winograd_dst(__global const float* restrict planes, ulong planes_offset,
                               __global stored* restrict dst, ulong dst_offset,
                               __global const float* restrict biases, ulong biases_offset,
                               int has_bias, ulong dst_stride, float alpha, float scale, float shift,
                               int blocks, int tiles, int first_tile, int across, int down, int height,
                               int width) {
  const int tile = get_global_id(0) % tiles, block = get_global_id(0) / tiles;
  if (block >= blocks) return;
  const int place = (first_tile + tile) % (across * down), image = (first_tile + tile) / (across * down);
  const int top = place / across * 4, left = place % across * 4;
  planes += planes_offset + ((ulong)block * tiles + tile) * V;
  dst += dst_offset + image * dst_stride + ((ulong)block * height * width + top * width + left) * V;
  const ulong plane = (ulong)blocks * tiles;
  floatv bias = 0.0f;
  if (has_bias) bias = LOADV(block, biases + biases_offset);
  floatv patch[24];
  ROLLED for (int x = 0; x < 6; ++x) {
    floatv column[6];
    UNROLL for (int y = 0; y < 6; ++y) column[y] = LOADV((y * 6 + x) * plane, planes);
#define TO_ROWS(y, value) patch[(y)*6 + x] = value;
    FROM_PLANES(column, 1, TO_ROWS)
  }
  ROLLED for (int y = 0; y < min(4, height - top); ++y) {
    floatv row[4];
#define TO_ROW(x, value) row[x] = (value) + bias;
    FROM_PLANES(patch + y * 6, 1, TO_ROW)
    ROLLED for (int x = 0; x < min(4, width - left); ++x) {
      WRITEV(ACTIVATE(row[x], alpha, scale, shift), y * width + x, dst);
    }
  }
}
