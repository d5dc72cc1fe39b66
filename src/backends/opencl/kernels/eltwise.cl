// Two tensors to one, then a function of the result (unary.cl). x: V elements of an image; z: image. The
// result may be the first operand's bytes.

#define COMBINE_sum(a, b) (a_factor * (a) + b_factor * (b))
#define COMBINE_product(a, b) ((a) * (b))
#define COMBINE_maximum(a, b) fmax(a, b)

MARU_KERNEL eltwise(__global const stored* a, ulong a_offset, __global const stored* b, ulong b_offset,
                    __global stored* dst, ulong dst_offset, ulong a_stride, ulong b_stride, ulong dst_stride,
                    ulong run, float a_factor, float b_factor, float alpha, float scale, float shift,
                    uint pixels, uint channels) {
  const size_t i = get_global_id(0);
  if (i * V >= run) return;
  a += a_offset + get_global_id(2) * a_stride + i * V;
  b += b_offset + get_global_id(2) * b_stride + i * V;
  dst += dst_offset + get_global_id(2) * dst_stride + i * V;
  const int count = (int)min((ulong)V, run - i * V);
  const bool is_whole = count == V;
  const floatv x = is_whole ? READV(0, a) : read_some(count, a);
  const floatv y = is_whole ? READV(0, b) : read_some(count, b);
  const floatv combined = COMBINE(x, y);
  floatv result = ACTIVATE(combined, alpha, scale, shift);
#ifdef MASKED
  result = only_channels(result, (int)(i / pixels) * V, (int)channels);
#endif
  if (is_whole) {
    WRITEV(result, 0, dst);
  } else {
    write_some(result, count, dst);
  }
}
