// Maximum (MAXIMUM) or average of each window. x: pixel of the result; y: block; z: image.

MARU_KERNEL pool(__global const stored* src, ulong src_offset, __global stored* dst, ulong dst_offset,
                 ulong src_stride, ulong dst_stride, int height, int width, int out_height, int out_width,
                 int kernel_height, int kernel_width, int stride_height, int stride_width, int pad_height,
                 int pad_width) {
  const int pixel = (int)get_global_id(0);
  if (pixel >= out_height * out_width) return;
  const size_t block = get_global_id(1);
  src += src_offset + get_global_id(2) * src_stride + block * BLOCK * height * width;
  dst += dst_offset + get_global_id(2) * dst_stride + block * BLOCK * out_height * out_width;

  const int top = pixel / out_width * stride_height - pad_height;
  const int left = pixel % out_width * stride_width - pad_width;
  // What lies behind the padding does not count; the padding itself does, for one divisor.
  const int bottom = min(top + kernel_height, height + pad_height);
  const int right = min(left + kernel_width, width + pad_width);
  const int first_row = max(top, 0), rows = min(bottom, height);
  const int first_column = max(left, 0), columns = min(right, width);
#ifdef MAXIMUM
  real result = (real)(-INFINITY);
  for (int y = first_row; y < rows; ++y) {
    for (int x = first_column; x < columns; ++x) result = fmax(result, LOAD(y * width + x, src));
  }
#else
  real result = (real)(0.0f);
  for (int y = first_row; y < rows; ++y) {
    for (int x = first_column; x < columns; ++x) result += LOAD(y * width + x, src);
  }
#ifdef VALID
  result /= (float)((rows - first_row) * (columns - first_column));
#else
  result /= (float)((bottom - top) * (right - left));
#endif
#endif
  STORE(result, pixel, dst);
}
