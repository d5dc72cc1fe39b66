// A function of each element. x: V elements of an image; z: image. Elements of an image lie side by side in
// every layout. MASKED: padding of blocks would not stay zero by itself.

MARU_KERNEL unary(__global const stored* src, ulong src_offset, __global stored* dst, ulong dst_offset,
                  ulong src_stride, ulong dst_stride, ulong run, float alpha, float scale, float shift,
                  uint pixels, uint channels) {
  const size_t i = get_global_id(0);
  if (i * V >= run) return;
  src += src_offset + get_global_id(2) * src_stride + i * V;
  dst += dst_offset + get_global_id(2) * dst_stride + i * V;
  const int count = (int)min((ulong)V, run - i * V);
  const floatv x = count == V ? READV(0, src) : read_some(count, src);
  floatv y = ACTIVATE(x, alpha, scale, shift);
#ifdef MASKED
  y = only_channels(y, (int)(i / pixels) * V, (int)channels);
#endif
  if (count == V) {
    WRITEV(y, 0, dst);
  } else {
    write_some(y, count, dst);
  }
}
