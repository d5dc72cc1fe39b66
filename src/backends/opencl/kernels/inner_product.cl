// A matrix times P rows of the input: a tile of B * V outputs a group. On a GPU the work items of a group
// share the sum; on a processor (SINGLE) there is one. Weights are packed [tile][element][B * V] and read
// front to back, once for P rows; halves where tensors are. Biases are floats.
//
// x: tile of rows, for each tile of outputs, so that rows find the weights in a cache; times the work items
// of a group.

#ifdef SINGLE
#define HELPERS 1
#else
#define HELPERS 64
#endif

MARU_LARGE_KERNEL inner_product(__global const stored* restrict src, ulong src_offset,
                           __global stored* restrict dst, ulong dst_offset,
                           __global const stored* restrict weights, ulong weights_offset,
                           __global const float* restrict biases, ulong biases_offset, int has_bias,
                           ulong src_stride, int elements, int outputs, int rows, float alpha,
                           float scale, float shift) {
  const int row_tiles = (rows + P - 1) / P, helper = get_local_id(0);
  const int tile = get_group_id(0) / row_tiles, first = get_group_id(0) % row_tiles * P;
  weights += weights_offset + (ulong)tile * elements * B * V;
  src += src_offset;
  ulong starts[P];
  UNROLL for (int p = 0; p < P; ++p) starts[p] = min(first + p, rows - 1) * src_stride;
  floatv sums[B][P];
  UNROLL for (int b = 0; b < B; ++b) {
    UNROLL for (int p = 0; p < P; ++p) sums[b][p] = 0.0f;
  }
  for (int i = helper; i < elements; i += HELPERS) {
    floatv weight[B];
    UNROLL for (int b = 0; b < B; ++b) weight[b] = READV((ulong)i * B + b, weights);
    UNROLL for (int p = 0; p < P; ++p) {
      const float value = READ(starts[p] + i, src);
      UNROLL for (int b = 0; b < B; ++b) sums[b][p] += value * weight[b];
    }
  }
#ifndef SINGLE
  __local floatv parts[HELPERS];
  UNROLL for (int b = 0; b < B; ++b) {
    UNROLL for (int p = 0; p < P; ++p) {
      parts[helper] = sums[b][p];
      for (int distance = HELPERS / 2; distance > 0; distance /= 2) {
        barrier(CLK_LOCAL_MEM_FENCE);
        if (helper < distance) parts[helper] += parts[helper + distance];
      }
      sums[b][p] = parts[0];
      barrier(CLK_LOCAL_MEM_FENCE);
    }
  }
  if (helper > 0) return;
#endif
  UNROLL for (int b = 0; b < B; ++b) {
    const int output = (tile * B + b) * V;
    if (output >= outputs) break;
    floatv bias = 0.0f;
    if (has_bias) bias = LOADV(tile * B + b, biases + biases_offset);
    UNROLL for (int p = 0; p < P; ++p) {
      if (first + p >= rows) continue;
      const floatv result = ACTIVATE(sums[b][p] + bias, alpha, scale, shift);
      write_some(result, min(V, outputs - output), dst + dst_offset + (ulong)(first + p) * outputs + output);
    }
  }
}
