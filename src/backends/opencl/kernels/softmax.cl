// Along the middle of three axes. The result may be the operand's bytes, unless it is of another type: floats
// also where the operand is halves (WIDEN).

#ifdef WIDEN
typedef float result;
#define WRITE_RESULT(value, index, pointer) ((pointer)[index] = (value))
#else
typedef stored result;
#define WRITE_RESULT(value, index, pointer) WRITE(value, index, pointer)
#endif

// One group for each row, whose elements are `inner` apart. x / 64: row.
MARU_KERNEL softmax_rows(__global const stored* src, ulong src_offset, __global result* dst, ulong dst_offset,
                         uint middle, uint inner) {
  __local float partial[64];
  const uint item = (uint)get_local_id(0);
  const size_t row = get_group_id(0);
  const size_t begin = row / inner * middle * inner + row % inner;
  src += src_offset + begin;
  dst += dst_offset + begin;
  float most = -INFINITY;
  for (uint m = item; m < middle; m += 64) most = fmax(most, READ((size_t)m * inner, src));
  partial[item] = most;
  barrier(CLK_LOCAL_MEM_FENCE);
  most = partial[0];
  for (int i = 1; i < 64; ++i) most = fmax(most, partial[i]);
  barrier(CLK_LOCAL_MEM_FENCE);
  float sum = 0;
  for (uint m = item; m < middle; m += 64) sum += exp(READ((size_t)m * inner, src) - most);
  partial[item] = sum;
  barrier(CLK_LOCAL_MEM_FENCE);
  sum = 0;
  for (int i = 0; i < 64; ++i) sum += partial[i];
  for (uint m = item; m < middle; m += 64) WRITE_RESULT(exp(READ((size_t)m * inner, src) - most) / sum, (size_t)m * inner, dst);
}

// One work item for each row: for many short ones that lie side by side.
MARU_KERNEL softmax_columns(__global const stored* src, ulong src_offset, __global result* dst, ulong dst_offset,
                            uint middle, uint inner, ulong rows) {
  const size_t row = get_global_id(0);
  if (row >= rows) return;
  const size_t begin = row / inner * middle * inner + row % inner;
  src += src_offset + begin;
  dst += dst_offset + begin;
  float most = -INFINITY, sum = 0;
  for (uint m = 0; m < middle; ++m) most = fmax(most, READ((size_t)m * inner, src));
  for (uint m = 0; m < middle; ++m) sum += exp(READ((size_t)m * inner, src) - most);
  for (uint m = 0; m < middle; ++m) WRITE_RESULT(exp(READ((size_t)m * inner, src) - most) / sum, (size_t)m * inner, dst);
}
