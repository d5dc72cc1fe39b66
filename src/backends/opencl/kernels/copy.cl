// Rows of ELEMENT, a word or a byte, from one place to another. x: V elements of a row; y: the row.

#define LOADE(index, pointer) CAT(vload, V)(index, pointer)
#define STOREE(value, index, pointer) CAT(vstore, V)(value, index, pointer)

MARU_KERNEL copy_rows(__global const ELEMENT* src, ulong src_offset, __global ELEMENT* dst, ulong dst_offset,
                      ulong row, ulong src_begin, ulong src_step, ulong dst_begin, ulong dst_step) {
  const size_t i = get_global_id(0) * V;
  if (i >= row) return;
  src += src_offset + src_begin + get_global_id(1) * src_step + i;
  dst += dst_offset + dst_begin + get_global_id(1) * dst_step + i;
  if (i + V <= row) {
    STOREE(LOADE(0, src), 0, dst);
  } else {
    for (int k = 0; k < (int)(row - i); ++k) dst[k] = src[k];
  }
}
