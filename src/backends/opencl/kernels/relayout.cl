// Between plain images and such of blocks of V channels. x: pixel; y: block; z: image.

MARU_KERNEL blocks_from_plain(__global const float* src, ulong src_offset, __global float* dst, ulong dst_offset,
                              ulong src_stride, ulong dst_stride, uint pixels, uint channels) {
  const size_t pixel = get_global_id(0), block = get_global_id(1);
  if (pixel >= pixels) return;
  src += src_offset + get_global_id(2) * src_stride + block * V * pixels + pixel;
  dst += dst_offset + get_global_id(2) * dst_stride;
  const int count = min(V, (int)(channels - block * V));
  float lanes[V];
  for (int i = 0; i < V; ++i) lanes[i] = i < count ? src[(size_t)i * pixels] : 0.0f;
  STOREV(LOADV(0, lanes), block * pixels + pixel, dst);
}

MARU_KERNEL plain_from_blocks(__global const float* src, ulong src_offset, __global float* dst, ulong dst_offset,
                              ulong src_stride, ulong dst_stride, uint pixels, uint channels) {
  const size_t pixel = get_global_id(0), block = get_global_id(1);
  if (pixel >= pixels) return;
  src += src_offset + get_global_id(2) * src_stride;
  dst += dst_offset + get_global_id(2) * dst_stride + block * V * pixels + pixel;
  const int count = min(V, (int)(channels - block * V));
  float lanes[V];
  STOREV(LOADV(block * pixels + pixel, src), 0, lanes);
  for (int i = 0; i < count; ++i) dst[(size_t)i * pixels] = lanes[i];
}
