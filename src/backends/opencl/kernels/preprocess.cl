// Photos to the input of a network, with the roundings of vision/resize.h. A frame is height, width, bytes
// of a row and offset in units of 16 bytes (ops/preprocess.h).

// p / q, rounded once. vision/resize.h has doubles, which small GPUs lack. Every tap is the same for results up
// to 600 pixels of sources up to 1400, and for eight usual results (224 to 512) of sources up to 20000. From 1024
// on, a place midway between two floats may be rounded the other way: 1 of 2048 from one weight to the other.
static float quotient(long p, ulong q) {
  if (p == 0) return 0.0f;
  const ulong magnitude = abs(p);
  const int up = (int)clz(magnitude) - 1;
  const ulong shifted = magnitude << up;
  const ulong whole = shifted / q;
  // The last of these 46 bits or more stands for all that was cut off.
  const float value = ldexp(convert_float_rte(whole | (whole * q != shifted)), -up);
  return p < 0 ? -value : value;
}

// Both pixels that one of the result lies between, and the weights of 2048 that they have.
static int4 tap_of(int dst, int dst_size, int src_size) {
  const float place = quotient((2L * dst + 1) * src_size - dst_size, 2UL * dst_size);
  const float below = floor(place);
  const int second_weight = convert_int_rte((place - below) * 2048.0f);
  const int first = (int)below;
  return (int4)(clamp(first, 0, src_size - 1), clamp(first + 1, 0, src_size - 1), 2048 - second_weight,
                second_weight);
}

static int side_of_crop(long side, long numerator, long denominator) {
  return (int)max(1L, (2 * side * numerator + denominator) / (2 * denominator));
}

// The taps of all columns, then of all rows. x: which; z: photo. Of a photo that leaves the buffer: -1.
MARU_KERNEL taps(__global const int* frames, ulong frames_offset, __global int4* taps, ulong taps_offset,
                 ulong bytes, int out_height, int out_width) {
  const int i = (int)get_global_id(0);
  if (i >= out_width + out_height) return;
  const int4 frame = vload4(get_global_id(2), frames + frames_offset);
  const int height = frame.s0, width = frame.s1;
  taps += taps_offset + get_global_id(2) * (out_width + out_height);
  const long begin = 16L * frame.s3, row = 3L * width;
  const long end = begin + (height - 1L) * frame.s2 + row;
  if (height < 1 || width < 1 || frame.s2 < row || begin < 0 || end > (long)bytes) {
    taps[i] = (int4)(-1);
    return;
  }
  int left = 0, top = 0, crop_width = width, crop_height = height;
#ifdef CROP
  if ((long)width * out_height > (long)height * out_width) {
    crop_width = side_of_crop(height, out_width, out_height);
  } else {
    crop_height = side_of_crop(width, out_height, out_width);
  }
  left = (width - crop_width) / 2;
  top = (height - crop_height) / 2;
#endif
  if (i < out_width) {
    taps[i] = tap_of(i, out_width, crop_width) + (int4)(left, left, 0, 0);
  } else {
    taps[i] = tap_of(i - out_width, out_height, crop_height) + (int4)(top, top, 0, 0);
  }
}

// One sample: across in both rows, of 11 bits of fraction 4 dropped, then down.
static int blend(__global const uchar* above, __global const uchar* below, int4 across, int4 down) {
  const int upper = (above[across.s0] * across.s2 + above[across.s1] * across.s3) >> 4;
  const int lower = (below[across.s0] * across.s2 + below[across.s1] * across.s3) >> 4;
  return ((upper * down.s2 >> 16) + (lower * down.s3 >> 16) + 2) >> 2;
}

// x: pixel of the result; z: photo. BGR: blue is the first plane.
MARU_KERNEL preprocess(__global const uchar* pixels, ulong pixels_offset, __global const int* frames,
                       ulong frames_offset, __global const int4* taps, ulong taps_offset, __global stored* dst,
                       ulong dst_offset, int out_height, int out_width, float mean0, float mean1, float mean2,
                       float scale) {
  const int pixel = (int)get_global_id(0), plane = out_height * out_width;
  if (pixel >= plane) return;
  taps += taps_offset + get_global_id(2) * (out_width + out_height);
  dst += dst_offset + get_global_id(2) * 3 * (size_t)plane + pixel;
  int4 across = taps[pixel % out_width];
  const int4 down = taps[out_width + pixel / out_width];
  if (across.s0 < 0) {
    for (int i = 0; i < 3; ++i) WRITE(NAN, i * (size_t)plane, dst);
    return;
  }
  across.s0 *= 3;
  across.s1 *= 3;
  const int4 frame = vload4(get_global_id(2), frames + frames_offset);
  pixels += pixels_offset + 16 * (ulong)frame.s3;
  __global const uchar* above = pixels + (ulong)down.s0 * frame.s2;
  __global const uchar* below = pixels + (ulong)down.s1 * frame.s2;
  const float red = blend(above, below, across, down);
  const float green = blend(above + 1, below + 1, across, down);
  const float blue = blend(above + 2, below + 2, across, down);
#ifdef BGR
  WRITE((blue - mean0) * scale, 0, dst);
  WRITE((red - mean2) * scale, 2 * (size_t)plane, dst);
#else
  WRITE((red - mean0) * scale, 0, dst);
  WRITE((blue - mean2) * scale, 2 * (size_t)plane, dst);
#endif
  WRITE((green - mean1) * scale, plane, dst);
}
