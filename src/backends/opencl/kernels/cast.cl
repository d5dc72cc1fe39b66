// Between floats and halves. x: V elements of an image; z: image. Elements of an image lie side by side in
// every layout.

// How one element, and how V of them, are read and written.
#ifdef TO_HALF
typedef float from;
typedef half to;
#define READ_FROM(index, pointer) ((pointer)[index])
#define READV_FROM(index, pointer) LOADV(index, pointer)
#define WRITE_TO(value, index, pointer) vstore_half(value, index, pointer)
#define WRITEV_TO(value, index, pointer) CAT(vstore_half, V)(value, index, pointer)
#else
typedef half from;
typedef float to;
#define READ_FROM(index, pointer) vload_half(index, pointer)
#define READV_FROM(index, pointer) CAT(vload_half, V)(index, pointer)
#define WRITE_TO(value, index, pointer) ((pointer)[index] = (value))
#define WRITEV_TO(value, index, pointer) STOREV(value, index, pointer)
#endif

MARU_KERNEL cast(__global const from* src, ulong src_offset, __global to* dst, ulong dst_offset, ulong src_stride,
                 ulong dst_stride, ulong run) {
  const size_t i = get_global_id(0) * V;
  if (i >= run) return;
  src += src_offset + get_global_id(2) * src_stride + i;
  dst += dst_offset + get_global_id(2) * dst_stride + i;
  if (i + V <= run) {
    WRITEV_TO(READV_FROM(0, src), 0, dst);
  } else {
    for (int k = 0; k < (int)(run - i); ++k) WRITE_TO(READ_FROM(k, src), k, dst);
  }
}
