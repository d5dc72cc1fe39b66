// Elements by vectors of up to 16 bytes, as floats. A thread's vector is `count` elements long where it
// is the last of its row, and is read one by one where the tensor's address or strides forbid more.
#pragma once

#include "backends/cuda/kernels/kernel.cuh"
#include "backends/cuda/kernels/rows.h"

namespace maru::cuda {

// Elements of T in 16 bytes.
template <class T>
constexpr int kVector = 16 / static_cast<int>(sizeof(T));

template <class T, int N>
struct alignas(N * sizeof(T)) Elements {
  T at[N];
};

// What is not there becomes `rest`. `is_aligned`: to 16 bytes, or to the vector where that is less.
template <int N, class T>
__device__ void load(const T* src, int count, bool is_aligned, float (&value)[N], float rest = 0) {
  constexpr int kPart = N < kVector<T> ? N : kVector<T>;
  if (count >= N && is_aligned) {
#pragma unroll
    for (int part = 0; part < N; part += kPart) {
      const auto loaded = *reinterpret_cast<const Elements<T, kPart>*>(src + part);
#pragma unroll
      for (int i = 0; i < kPart; ++i) value[part + i] = to_float(loaded.at[i]);
    }
  } else {
#pragma unroll
    for (int i = 0; i < N; ++i) value[i] = i < count ? to_float(src[i]) : rest;
  }
}

template <int N, class T>
__device__ void store(const float (&value)[N], T* dst, int count, bool is_aligned) {
  constexpr int kPart = N < kVector<T> ? N : kVector<T>;
  if (count >= N && is_aligned) {
#pragma unroll
    for (int part = 0; part < N; part += kPart) {
      Elements<T, kPart> stored;
#pragma unroll
      for (int i = 0; i < kPart; ++i) stored.at[i] = from_float<T>(value[part + i]);
      *reinterpret_cast<Elements<T, kPart>*>(dst + part) = stored;
    }
  } else {
#pragma unroll
    for (int i = 0; i < N; ++i) {
      if (i < count) dst[i] = from_float<T>(value[i]);
    }
  }
}

__device__ inline std::uint32_t thread_index() { return blockIdx.x * blockDim.x + threadIdx.x; }

// The vector of a thread.
struct Part {
  std::int64_t row;
  std::int64_t first;  // element of the row
  int count;           // 0: there is none for this thread
};
template <int N>
__device__ Part part_of(const Rows& rows) {
  const std::uint32_t index = thread_index();
  const std::uint32_t row = index / rows.vectors, first = (index - row * rows.vectors) * N;
  if (row >= rows.count) return {0, 0, 0};
  return {row, first, static_cast<int>(min(static_cast<std::uint32_t>(N), rows.run - first))};
}

}  // namespace maru::cuda
