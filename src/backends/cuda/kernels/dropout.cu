#include "backends/cuda/kernels/dropout.h"
#include "backends/cuda/kernels/images.cuh"
#include "backends/cuda/kernels/vectors.cuh"

namespace maru::cuda {
namespace {

__device__ std::uint64_t step_of(const DropoutParams& p) {
  return static_cast<std::uint64_t>(p.step[0]);
}

template <class T>
__global__ void dropout_plain(DropoutParams p) {
  constexpr int N = kVector<T>, kWords = 4;
  const Part part = part_of<N>(p.rows);
  if (part.count == 0) return;
  const std::uint64_t step = step_of(p);
  const auto index = p.first + static_cast<std::uint64_t>(part.row * p.rows.run + part.first);
  float value[N];
  load(static_cast<const T*>(p.src) + part.row * p.src_stride + part.first, part.count, p.is_aligned,
       value);
  if (index % kWords == 0) {
#pragma unroll
    for (int group = 0; group < N / kWords; ++group) {
      const PhiloxWords words =
          philox_words(index / kWords + static_cast<unsigned>(group), step, p.terms.seed);
#pragma unroll
      for (int i = 0; i < kWords; ++i) {
        float& one = value[group * kWords + i];
        one = words.at[i] >= p.terms.bound ? one * p.terms.factor : 0.0f;
      }
    }
  } else {
#pragma unroll
    for (int i = 0; i < N; ++i)
      value[i] = keeps(p.terms, step, index + static_cast<unsigned>(i)) ? value[i] * p.terms.factor : 0;
  }
  store(value, static_cast<T*>(p.dst) + part.row * p.dst_stride + part.first, part.count, p.is_aligned);
}

template <class T>
__global__ void dropout(DropoutParams p) {
  constexpr int N = kVector<T>;
  const Spot spot = spot_of<N>(p.images, p.channels, p.pixels);
  if (spot.count == 0) return;
  const std::uint64_t step = step_of(p);
  float value[N];
  load(static_cast<const T*>(p.src) + spot.image * p.src_strides.image + spot.channel +
           spot.pixel * p.src_strides.pixel,
       spot.count, p.is_aligned, value);
  const std::uint64_t first =
      p.first +
      (std::uint64_t{spot.image} * p.channels + static_cast<unsigned>(spot.channel)) * p.pixels +
      spot.pixel;
#pragma unroll
  for (int i = 0; i < N; ++i) {
    const std::uint64_t index = first + static_cast<std::uint64_t>(i) * p.pixels;
    value[i] = keeps(p.terms, step, index) ? value[i] * p.terms.factor : 0;
  }
  store(value,
        static_cast<T*>(p.dst) + spot.image * p.dst_strides.image + spot.channel +
            spot.pixel * p.dst_strides.pixel,
        spot.count, p.is_aligned);
}

MARU_CUDA_FUNCTION("dropout_f32", dropout<float>)
MARU_CUDA_FUNCTION("dropout_f16", dropout<__half>)
MARU_CUDA_FUNCTION("dropout_plain_f32", dropout_plain<float>)
MARU_CUDA_FUNCTION("dropout_plain_f16", dropout_plain<__half>)

}  // namespace
}  // namespace maru::cuda
