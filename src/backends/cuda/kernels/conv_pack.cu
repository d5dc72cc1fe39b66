#include "backends/cuda/kernels/conv_pack.h"
#include "backends/cuda/kernels/vectors.cuh"

namespace maru::cuda {
namespace {

// As conv_plan.cpp rounds: to 10 bits of mantissa, ties away.
__device__ float as_tf32(float value) {
  return isfinite(value) ? __uint_as_float((__float_as_uint(value) + 0x1000u) & ~0x1fffu) : value;
}

// Through a tile, so that both sides go over neighbours.
template <class S, class D, bool kTf32>
__global__ void conv_pack(const __grid_constant__ ConvPackParams p) {
  __shared__ D tile[kPackTile][kPackTile + 1];  // [row][element]
  const int x = static_cast<int>(threadIdx.x), all_rows = p.rows * p.groups;
  const int first_row = static_cast<int>(blockIdx.y) * kPackTile;
  const int first_element = static_cast<int>(blockIdx.x) * kPackTile;
  for (int k = static_cast<int>(threadIdx.y); k < kPackTile; k += kPackRows) {
    const int r = p.rows_are_neighbours != 0 ? x : k, e = p.rows_are_neighbours != 0 ? k : x;
    const bool is_there = first_row + r < all_rows && first_element + e < p.row_length;
    const std::int64_t from = is_there ? packed_from(p, first_row + r, first_element + e) : -1;
    float value = from < 0 ? 0 : to_float(static_cast<const S*>(p.src)[from]);
    if constexpr (kTf32) value = as_tf32(value);
    tile[r][e] = from_float<D>(value);
  }
  if (p.float_bias != nullptr && blockIdx.x == 0 && threadIdx.y == 0 && first_row + x < all_rows)
    p.float_bias[first_row + x] = __half2float(static_cast<const __half*>(p.bias)[first_row + x]);
  __syncthreads();
  const int element = first_element + x;
  if (element >= p.row_length) return;
  for (int k = static_cast<int>(threadIdx.y); k < kPackTile; k += kPackRows) {
    if (first_row + k >= all_rows) return;
    static_cast<D*>(p.dst)[static_cast<std::int64_t>(first_row + k) * p.row_length + element] =
        tile[k][x];
  }
}

template <class T>
__global__ void conv_expand(const __grid_constant__ ConvExpandParams p) {
  constexpr int kLanes = kVector<T>;
  const int vectors = (p.channels + kLanes - 1) / kLanes;
  const std::int64_t index = static_cast<std::int64_t>(blockIdx.x) * blockDim.x + threadIdx.x;
  const std::int64_t pixel = index / vectors;
  if (pixel >= static_cast<std::int64_t>(p.images) * p.height * p.width) return;
  const int channel = static_cast<int>(index - pixel * vectors) * kLanes;
  const int count = min(kLanes, p.channels - channel);
  const std::int64_t from = expanded_from(p, pixel);
  float value[kLanes] = {};
  if (from >= 0) {
    load(static_cast<const T*>(p.src) + from * p.src_pixel_stride + channel, count, p.is_aligned != 0,
         value);
  }
  store(value, static_cast<T*>(p.dst) + pixel * p.dst_pixel_stride + channel, count, p.is_aligned != 0);
}

MARU_CUDA_FUNCTION("conv_pack_f16", conv_pack<__half, __half, false>)
MARU_CUDA_FUNCTION("conv_pack_f16_of_f32", conv_pack<float, __half, false>)
MARU_CUDA_FUNCTION("conv_pack_f32", conv_pack<float, float, false>)
MARU_CUDA_FUNCTION("conv_pack_tf32", conv_pack<float, float, true>)
MARU_CUDA_FUNCTION("conv_expand_f16", conv_expand<__half>)
MARU_CUDA_FUNCTION("conv_expand_f32", conv_expand<float>)

}  // namespace
}  // namespace maru::cuda
