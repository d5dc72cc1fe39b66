// Between plain images and such of blocks of V channels, of ELEMENT. x: pixel; y: block; z: image.

#define LOADE(index, pointer) CAT(vload, V)(index, pointer)
#define STOREE(value, index, pointer) CAT(vstore, V)(value, index, pointer)

MARU_KERNEL blocks_from_plain(__global const ELEMENT* src, ulong src_offset, __global ELEMENT* dst, ulong dst_offset,
                              ulong src_stride, ulong dst_stride, uint pixels, uint channels) {
  const size_t pixel = get_global_id(0), block = get_global_id(1);
  if (pixel >= pixels) return;
  src += src_offset + get_global_id(2) * src_stride + block * V * pixels + pixel;
  dst += dst_offset + get_global_id(2) * dst_stride;
  const int count = min(V, (int)(channels - block * V));
  ELEMENT lanes[V];
  for (int i = 0; i < V; ++i) lanes[i] = i < count ? src[(size_t)i * pixels] : 0;
  STOREE(LOADE(0, lanes), block * pixels + pixel, dst);
}

MARU_KERNEL plain_from_blocks(__global const ELEMENT* src, ulong src_offset, __global ELEMENT* dst, ulong dst_offset,
                              ulong src_stride, ulong dst_stride, uint pixels, uint channels) {
  const size_t pixel = get_global_id(0), block = get_global_id(1);
  if (pixel >= pixels) return;
  src += src_offset + get_global_id(2) * src_stride;
  dst += dst_offset + get_global_id(2) * dst_stride + block * V * pixels + pixel;
  const int count = min(V, (int)(channels - block * V));
  ELEMENT lanes[V];
  STOREE(LOADE(block * pixels + pixel, src), 0, lanes);
  for (int i = 0; i < count; ++i) dst[(size_t)i * pixels] = lanes[i];
}
