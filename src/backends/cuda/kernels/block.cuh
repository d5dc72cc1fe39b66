// What all threads of a block have, combined, for each of them.
#pragma once

#include <cmath>

#include "backends/cuda/kernels/kernel.cuh"

namespace maru::cuda {

constexpr int kWarp = 32;

// How two are combined, and what combines with any to that one.
struct Most {
  __device__ static float none(float) { return -INFINITY; }
  __device__ float operator()(float a, float b) const { return fmaxf(a, b); }
};
struct Sum {
  template <class T>
  __device__ static T none(T) {
    return 0;
  }
  template <class T>
  __device__ T operator()(T a, T b) const {
    return a + b;
  }
};

// In a block of kThreads along x. `shared`: one a warp, which nothing else uses. The order is always
// the same.
template <int kThreads, class T, class Combine>
__device__ T over_block(T value, T* shared, Combine combine) {
  const int thread = static_cast<int>(threadIdx.x), lane = thread % kWarp;
#pragma unroll
  for (int apart = kWarp / 2; apart > 0; apart /= 2) {
    value = combine(value, __shfl_xor_sync(0xffffffffu, value, apart));
  }
  if (lane == 0) shared[thread / kWarp] = value;
  __syncthreads();
  value = Combine::none(value);
#pragma unroll
  for (int warp = 0; warp < kThreads / kWarp; ++warp) value = combine(value, shared[warp]);
  return value;
}

}  // namespace maru::cuda
