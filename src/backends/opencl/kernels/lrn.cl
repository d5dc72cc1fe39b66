// Local response normalisation. x: pixel; y: block; z: image. SIZE: channels, or pixels in each direction.
// POWER: what a power of -beta costs, one of these.

#define POWER_any(base, beta) pow(base, (real)(-(beta)))
#define POWER_three_quarters(base, beta) (1.0f / (sqrt(base) * sqrt(sqrt(base))))

#if defined(ACROSS) && BLOCK == 1

MARU_KERNEL lrn(__global const stored* src, ulong src_offset, __global stored* dst, ulong dst_offset,
                ulong src_stride, ulong dst_stride, int height, int width, int channels, float k, float weight,
                float beta) {
  const size_t pixel = get_global_id(0), pixels = (size_t)height * width;
  if (pixel >= pixels) return;
  const int channel = (int)get_global_id(1);
  src += src_offset + get_global_id(2) * src_stride + pixel;
  dst += dst_offset + get_global_id(2) * dst_stride + pixel;
  float sum = 0;
  const int last = min(channel + SIZE / 2, channels - 1);
  for (int c = max(channel - SIZE / 2, 0); c <= last; ++c) sum += READ(c * pixels, src) * READ(c * pixels, src);
  WRITE(READ(channel * pixels, src) * POWER(k + weight * sum, beta), channel * pixels, dst);
}

#elif defined(ACROSS)

// SIZE / 2 is at most V: the neighbours are in this block, the one before and the one behind.
MARU_KERNEL lrn(__global const stored* src, ulong src_offset, __global stored* dst, ulong dst_offset,
                ulong src_stride, ulong dst_stride, int height, int width, int channels, float k, float weight,
                float beta) {
  const size_t pixel = get_global_id(0), pixels = (size_t)height * width;
  if (pixel >= pixels) return;
  const int block = (int)get_global_id(1), first = block * V;
  src += src_offset + get_global_id(2) * src_stride;
  dst += dst_offset + get_global_id(2) * dst_stride;
  const size_t at = block * pixels + pixel;
  const floatv value = only_channels(READV(at, src), first, channels);
  const floatv before = block > 0 ? READV(at - pixels, src) : (floatv)(0.0f);
  const floatv behind =
      first + V < channels ? only_channels(READV(at + pixels, src), first + V, channels) : (floatv)(0.0f);
  float squares[3 * V];
  STOREV(before * before, 0, squares);
  STOREV(value * value, 1, squares);
  STOREV(behind * behind, 2, squares);
  floatv sum = (floatv)(0.0f);
#pragma unroll
  for (int i = 0; i < SIZE; ++i) sum += LOADV(0, squares + V - SIZE / 2 + i);
  // Beside the channels 0 times an infinite power would be no number, where k is 0.
  WRITEV(only_channels(value * POWER(k + weight * sum, beta), first, channels), at, dst);
}

#else

MARU_KERNEL lrn(__global const stored* src, ulong src_offset, __global stored* dst, ulong dst_offset,
                ulong src_stride, ulong dst_stride, int height, int width, int channels, float k, float weight,
                float beta) {
  const size_t pixel = get_global_id(0), pixels = (size_t)height * width;
  if (pixel >= pixels) return;
  src += src_offset + get_global_id(2) * src_stride + get_global_id(1) * pixels * BLOCK;
  dst += dst_offset + get_global_id(2) * dst_stride + get_global_id(1) * pixels * BLOCK;
  const int row = (int)(pixel / width), column = (int)(pixel % width);
  const int last_row = min(row + SIZE / 2, height - 1), last_column = min(column + SIZE / 2, width - 1);
  real sum = (real)(0.0f);
  for (int y = max(row - SIZE / 2, 0); y <= last_row; ++y) {
    for (int x = max(column - SIZE / 2, 0); x <= last_column; ++x) {
      const real value = LOAD((size_t)y * width + x, src);
      sum += value * value;
    }
  }
  STORE(LOAD(pixel, src) * POWER(k + weight * sum, beta), pixel, dst);
}

#endif
