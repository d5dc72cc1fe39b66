// Fully connected layers of a few rows, at the speed at which weights are read (inner_product.h).
#include "backends/cuda/kernels/activation.cuh"
#include "backends/cuda/kernels/inner_product.h"
#include "backends/cuda/kernels/kernel.cuh"

namespace maru::cuda {
namespace {

template <class T>
struct Chunk {
  static constexpr int kLanes = 16 / sizeof(T);
  alignas(16) T values[kLanes];
};

template <class T>
__device__ Chunk<T> load(const T* from) {
  Chunk<T> chunk;
  *reinterpret_cast<int4*>(chunk.values) = __ldg(reinterpret_cast<const int4*>(from));
  return chunk;
}

template <class T>
__device__ Chunk<T> load(const T* from, int left, bool is_aligned) {
  if (is_aligned && left >= Chunk<T>::kLanes) return load(from);
  Chunk<T> chunk;
#pragma unroll
  for (int k = 0; k < Chunk<T>::kLanes; ++k) {
    chunk.values[k] = k < left ? from[k] : from_float<T>(0.0f);
  }
  return chunk;
}

template <class T, int kRows>
__global__ void __launch_bounds__(kInnerThreads)
    inner_product(const __grid_constant__ InnerProductParams p) {
  constexpr int kLanes = Chunk<T>::kLanes, kAhead = 4;
  const int lane = threadIdx.x % 32;
  const int output = (blockIdx.x * kInnerThreads + threadIdx.x) / 32;
  if (output >= p.outputs) return;
  const int chunks = (p.length + kLanes - 1) / kLanes;
  const T* weights = static_cast<const T*>(p.weights) + output * p.weight_row_stride;
  const T* src = static_cast<const T*>(p.src) + blockIdx.y * kRows * p.src_row_stride;
  const int rows = min(kRows, p.rows - static_cast<int>(blockIdx.y) * kRows);
  const bool is_aligned =
      reinterpret_cast<std::uintptr_t>(src) % 16 == 0 && (rows == 1 || p.src_row_stride % kLanes == 0);
  float sum[kRows] = {};
  const auto add = [&](const Chunk<T>& weight, int at) {
#pragma unroll
    for (int row = 0; row < kRows; ++row) {
      if (row >= rows) break;
      const Chunk<T> value = load(src + row * p.src_row_stride + at, p.length - at, is_aligned);
#pragma unroll
      for (int k = 0; k < kLanes; ++k) {
        sum[row] = fmaf(to_float(value.values[k]), to_float(weight.values[k]), sum[row]);
      }
    }
  };
  int chunk = lane;
  for (; chunk + (kAhead - 1) * 32 < chunks; chunk += kAhead * 32) {
    Chunk<T> weight[kAhead];
#pragma unroll
    for (int i = 0; i < kAhead; ++i) weight[i] = load(weights + (chunk + i * 32) * kLanes);
#pragma unroll
    for (int i = 0; i < kAhead; ++i) add(weight[i], (chunk + i * 32) * kLanes);
  }
  for (; chunk < chunks; chunk += 32) add(load(weights + chunk * kLanes), chunk * kLanes);
#pragma unroll
  for (int row = 0; row < kRows; ++row) {
#pragma unroll
    for (int distance = 16; distance > 0; distance /= 2) {
      sum[row] += __shfl_xor_sync(0xffffffff, sum[row], distance);
    }
    if (lane != 0 || row >= rows) continue;
    if (p.bias != nullptr) sum[row] += p.bias[output];
    static_cast<T*>(p.dst)[(static_cast<std::int64_t>(blockIdx.y) * kRows + row) * p.outputs + output] =
        from_float<T>(apply(p.activation, sum[row]));
  }
}

MARU_CUDA_FUNCTION("inner_product_f16", inner_product<__half, kInnerRows>)
MARU_CUDA_FUNCTION("inner_product_f16_1", inner_product<__half, 1>)
MARU_CUDA_FUNCTION("inner_product_f32", inner_product<float, kInnerRows>)
MARU_CUDA_FUNCTION("inner_product_f32_1", inner_product<float, 1>)

}  // namespace
}  // namespace maru::cuda
