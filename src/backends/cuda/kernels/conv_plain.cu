// Convolutions that nothing faster takes, and depthwise ones (conv_plain.h); the end of those whose
// splits meet in memory (conv.h).
#include "backends/cuda/kernels/activation.cuh"
#include "backends/cuda/kernels/conv.h"
#include "backends/cuda/kernels/conv_plain.h"
#include "backends/cuda/kernels/kernel.cuh"

namespace maru::cuda {
namespace {

__device__ std::int64_t thread_index() {
  return static_cast<std::int64_t>(blockIdx.x) * blockDim.x + threadIdx.x;
}

template <class T>
__global__ void conv_plain(const __grid_constant__ ConvPlainParams p) {
  const ConvGeometry& g = p.geometry;
  const std::int64_t pixels = static_cast<std::int64_t>(g.out_height) * g.out_width;
  const int outputs = p.outputs * p.groups;
  const std::int64_t i = thread_index();
  if (i >= p.images * pixels * outputs) return;
  // Neighbours in memory are neighbours in a warp.
  const bool is_last = p.dst_strides.channel == 1;
  const std::int64_t rest = i / (is_last ? outputs : pixels);
  const int output = static_cast<int>(is_last ? i - rest * outputs : rest % outputs);
  const std::int64_t pixel = is_last ? rest % pixels : i - rest * pixels;
  const std::int64_t image = rest / (is_last ? pixels : outputs);
  const int out_y = static_cast<int>(pixel / g.out_width);
  const int out_x = static_cast<int>(pixel - static_cast<std::int64_t>(out_y) * g.out_width);
  const int first = output / p.outputs * p.inputs;
  const T* src =
      static_cast<const T*>(p.src) + image * p.src_strides.image + first * p.src_strides.channel;
  const float* floats = static_cast<const float*>(p.weights);
  const __half* halves = static_cast<const __half*>(p.weights);
  float sum = 0;
  for (int ky = 0; ky < g.kernel_h; ++ky) {
    const int y = out_y * g.stride_h - g.pad_h + ky * g.dilation_h;
    if (y < 0 || y >= g.height) continue;
    for (int kx = 0; kx < g.kernel_w; ++kx) {
      const int x = out_x * g.stride_w - g.pad_w + kx * g.dilation_w;
      if (x < 0 || x >= g.width) continue;
      const T* from = src + (static_cast<std::int64_t>(y) * g.width + x) * p.src_strides.pixel;
      std::int64_t at = output * p.weight_output + (ky * g.kernel_w + kx) * p.weight_tap;
      for (int c = 0; c < p.inputs; ++c) {
        const float weight = p.has_halves != 0 ? __half2float(halves[at]) : floats[at];
        sum = fmaf(to_float(*from), weight, sum);
        from += p.src_strides.channel;
        at += p.weight_input;
      }
    }
  }
  if (p.bias != nullptr) {
    sum += p.has_half_bias != 0 ? __half2float(static_cast<const __half*>(p.bias)[output])
                                : static_cast<const float*>(p.bias)[output];
  }
  static_cast<T*>(p.dst)[image * p.dst_strides.image + output * p.dst_strides.channel +
                         pixel * p.dst_strides.pixel] = from_float<T>(apply(p.activation, sum));
}

template <class T>
__global__ void conv_depthwise(const __grid_constant__ ConvDepthwiseParams p) {
  constexpr int kLanes = 16 / sizeof(T);
  const ConvGeometry& g = p.geometry;
  const int chunks = p.channels / kLanes;
  const std::int64_t i = thread_index(), pixel = i / chunks;
  const std::int64_t line = pixel / g.out_width, image = line / g.out_height;
  if (image >= p.images) return;
  const int channel = static_cast<int>(i - pixel * chunks) * kLanes;
  const int first_x = static_cast<int>(pixel - line * g.out_width) * g.stride_w - g.pad_w;
  const int first_y = static_cast<int>(line - image * g.out_height) * g.stride_h - g.pad_h;
  const T* src = static_cast<const T*>(p.src) + channel;
  float sum[kLanes];
#pragma unroll
  for (int k = 0; k < kLanes; ++k) sum[k] = p.bias != nullptr ? p.bias[channel + k] : 0.0f;
  for (int ky = 0; ky < g.kernel_h; ++ky) {
    const int y = first_y + ky * g.dilation_h;
    if (y < 0 || y >= g.height) continue;
#pragma unroll 3
    for (int kx = 0; kx < g.kernel_w; ++kx) {
      const int x = first_x + kx * g.dilation_w;
      if (x < 0 || x >= g.width) continue;
      const std::int64_t from = (image * g.height + y) * g.width + x;
      const T* at = src + from * p.src_pixel_stride;
      alignas(16) T value[kLanes];
      if (reinterpret_cast<std::uintptr_t>(at) % 16 == 0) {
        *reinterpret_cast<int4*>(value) = __ldg(reinterpret_cast<const int4*>(at));
      } else {
#pragma unroll
        for (int k = 0; k < kLanes; ++k) value[k] = at[k];
      }
      const float* weights = p.weights + (ky * g.kernel_w + kx) * p.channels + channel;
#pragma unroll
      for (int k = 0; k < kLanes; k += 4) {
        const float4 weight = __ldg(reinterpret_cast<const float4*>(weights + k));
        sum[k] = fmaf(to_float(value[k]), weight.x, sum[k]);
        sum[k + 1] = fmaf(to_float(value[k + 1]), weight.y, sum[k + 1]);
        sum[k + 2] = fmaf(to_float(value[k + 2]), weight.z, sum[k + 2]);
        sum[k + 3] = fmaf(to_float(value[k + 3]), weight.w, sum[k + 3]);
      }
    }
  }
  T* to = static_cast<T*>(p.dst) + pixel * p.dst_pixel_stride + channel;
  alignas(16) T value[kLanes];
#pragma unroll
  for (int k = 0; k < kLanes; ++k) value[k] = from_float<T>(apply(p.activation, sum[k]));
  if (reinterpret_cast<std::uintptr_t>(to) % 16 == 0) {
    *reinterpret_cast<int4*>(to) = *reinterpret_cast<const int4*>(value);
    return;
  }
#pragma unroll
  for (int k = 0; k < kLanes; ++k) to[k] = value[k];
}

template <class T>
__global__ void conv_sum(const __grid_constant__ ConvSumParams p) {
  const std::int64_t all = static_cast<std::int64_t>(p.pixels) * p.outputs, i = thread_index();
  if (i >= all) return;
  float sum = 0;
  for (int split = 0; split < p.splits; ++split) sum += p.partial[split * all + i];
  const std::int64_t pixel = i / p.outputs;
  const int output = static_cast<int>(i - pixel * p.outputs);
  if (p.bias != nullptr) sum += p.bias[output];
  static_cast<T*>(p.dst)[pixel * p.dst_pixel_stride + output] = from_float<T>(apply(p.activation, sum));
}

MARU_CUDA_FUNCTION("conv_plain_f16", conv_plain<__half>)
MARU_CUDA_FUNCTION("conv_plain_f32", conv_plain<float>)
MARU_CUDA_FUNCTION("conv_depthwise_f16", conv_depthwise<__half>)
MARU_CUDA_FUNCTION("conv_depthwise_f32", conv_depthwise<float>)
MARU_CUDA_FUNCTION("conv_sum_f16", conv_sum<__half>)
MARU_CUDA_FUNCTION("conv_sum_f32", conv_sum<float>)

}  // namespace
}  // namespace maru::cuda
