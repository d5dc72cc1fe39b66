#include "backends/cuda/kernels/channelwise.h"
#include "backends/cuda/kernels/vectors.cuh"

namespace maru::cuda {
namespace {

using Kind = ChannelwiseParams::Kind;

template <int N>
__device__ void load_operand(const ChannelOperand& from, std::int64_t channel, int count,
                             float (&value)[N]) {
  if (from.is_half) {
    load(static_cast<const __half*>(from.at) + channel, count, from.is_aligned, value);
  } else {
    load(static_cast<const float*>(from.at) + channel, count, from.is_aligned, value);
  }
}

__device__ float apply(Kind kind, float x, float a, float b, float inverse, float epsilon) {
  switch (kind) {
    case Kind::scale:
      return x * a;
    case Kind::affine:
      return x * a + b;
    case Kind::bias:
      return x + a;
    case Kind::prelu:
      return fmaxf(x, 0.0f) + a * fminf(x, 0.0f);
    case Kind::batch_norm:
      return (x - a * inverse) / sqrtf(b * inverse + epsilon);
  }
  return x;
}

template <class T, int N>
__global__ void channelwise(ChannelwiseParams p) {
  const Part part = part_of<N>(p.rows);
  if (part.count == 0) return;
  float value[N], a[N], b[N], inverse = 1;
  load(static_cast<const T*>(p.src) + part.row * p.src_stride + part.first, part.count, p.is_aligned,
       value);
  if (p.is_shared) {
    float one[1];
    load_operand(p.a, 0, 1, one);
#pragma unroll
    for (int i = 0; i < N; ++i) a[i] = b[i] = one[0];
  } else {
    const std::int64_t channel = N > 1 ? part.first : static_cast<std::uint32_t>(part.first) / p.inner;
    load_operand(p.a, channel, part.count, a);
    load_operand(p.b, channel, part.count, b);
  }
  if (p.kind == Kind::batch_norm) {
    float count[1];
    load_operand(p.count, 0, 1, count);
    inverse = count[0] == 0 ? 0 : 1 / count[0];
  }
#pragma unroll
  for (int i = 0; i < N; ++i) value[i] = apply(p.kind, value[i], a[i], b[i], inverse, p.epsilon);
  store(value, static_cast<T*>(p.dst) + part.row * p.dst_stride + part.first, part.count, p.is_aligned);
}

MARU_CUDA_FUNCTION("channelwise_f32", channelwise<float, kVector<float>>)
MARU_CUDA_FUNCTION("channelwise_f16", channelwise<__half, kVector<__half>>)
MARU_CUDA_FUNCTION("channelwise_plain_f32", channelwise<float, 1>)
MARU_CUDA_FUNCTION("channelwise_plain_f16", channelwise<__half, 1>)

}  // namespace
}  // namespace maru::cuda
