// Gradients of convolutions and products that nothing faster takes (conv_grad_plain.h), and the end of
// all gradients of weights (conv_grad.h).
#include "backends/cuda/kernels/activation.cuh"
#include "backends/cuda/kernels/conv_grad_plain.h"
#include "backends/cuda/kernels/kernel.cuh"

namespace maru::cuda {
namespace {

__device__ float real_at(const void* data, bool is_half, std::int64_t at) {
  return is_half ? __half2float(static_cast<const __half*>(data)[at])
                 : static_cast<const float*>(data)[at];
}

template <class T>
__global__ void conv_grad_data_plain(const __grid_constant__ ConvGradDataPlainParams p) {
  const ConvGeometry& g = p.geometry;
  const std::int64_t pixels = static_cast<std::int64_t>(g.height) * g.width;
  const int channels = p.inputs * p.groups;
  const std::int64_t i = static_cast<std::int64_t>(blockIdx.x) * blockDim.x + threadIdx.x;
  if (i >= p.images * pixels * channels) return;
  // Neighbours in memory are neighbours in a warp.
  const bool is_last = p.dst_strides.channel == 1;
  const std::int64_t rest = i / (is_last ? channels : pixels);
  const int channel = static_cast<int>(is_last ? i - rest * channels : rest % channels);
  const std::int64_t pixel = is_last ? rest % pixels : i - rest * pixels;
  const std::int64_t image = rest / (is_last ? pixels : channels);
  const int y = static_cast<int>(pixel / g.width);
  const int x = static_cast<int>(pixel - static_cast<std::int64_t>(y) * g.width);
  const int group = channel / p.inputs, input = channel - group * p.inputs;
  const T* gradient = static_cast<const T*>(p.gradient) + image * p.gradient_strides.image +
                      static_cast<std::int64_t>(group) * p.outputs * p.gradient_strides.channel;
  const std::int64_t weights =
      static_cast<std::int64_t>(group) * p.outputs * p.weight_output + input * p.weight_input;
  float sum = 0;
  for (int ky = 0; ky < g.kernel_h; ++ky) {
    const int from_y = y + g.pad_h - ky * g.dilation_h, out_y = from_y / g.stride_h;
    if (from_y < 0 || from_y % g.stride_h != 0 || out_y >= g.out_height) continue;
    for (int kx = 0; kx < g.kernel_w; ++kx) {
      const int from_x = x + g.pad_w - kx * g.dilation_w, out_x = from_x / g.stride_w;
      if (from_x < 0 || from_x % g.stride_w != 0 || out_x >= g.out_width) continue;
      const T* from = gradient + (static_cast<std::int64_t>(out_y) * g.out_width + out_x) *
                                     p.gradient_strides.pixel;
      std::int64_t at = weights + (ky * g.kernel_w + kx) * p.weight_tap;
      for (int output = 0; output < p.outputs; ++output) {
        sum = fmaf(to_float(*from), real_at(p.weights, p.has_halves != 0, at), sum);
        from += p.gradient_strides.channel;
        at += p.weight_output;
      }
    }
  }
  static_cast<T*>(p.dst)[image * p.dst_strides.image + channel * p.dst_strides.channel +
                         pixel * p.dst_strides.pixel] = from_float<T>(sum);
}

template <class T>
__global__ void conv_grad_weight_plain(const __grid_constant__ ConvGradWeightPlainParams p) {
  __shared__ float sums[kPlainPixels][kPlainOutputs];
  const ConvGeometry& g = p.geometry;
  const int outputs = p.outputs * p.groups, columns = p.inputs * g.kernel_h * g.kernel_w;
  const int output = static_cast<int>(blockIdx.x) * kPlainOutputs + static_cast<int>(threadIdx.x);
  const std::int64_t pixels = static_cast<std::int64_t>(p.images) * g.out_height * g.out_width;
  const std::int64_t first = pixels * blockIdx.z / gridDim.z,
                     end = pixels * (blockIdx.z + 1) / gridDim.z;
  for (int column = static_cast<int>(blockIdx.y); column < columns;
       column += static_cast<int>(gridDim.y)) {
    const int tap = column / p.inputs, input = column - tap * p.inputs;
    const int from_y = tap / g.kernel_w * g.dilation_h - g.pad_h;
    const int from_x = tap % g.kernel_w * g.dilation_w - g.pad_w;
    const int channel = min(output, outputs - 1) / p.outputs * p.inputs + input;
    const T* data = static_cast<const T*>(p.data) + channel * p.data_strides.channel;
    const T* gradient = static_cast<const T*>(p.gradient) + output * p.gradient_strides.channel;
    float sum = 0;
    for (std::int64_t pixel = first + threadIdx.y; pixel < end && output < outputs;
         pixel += kPlainPixels) {
      const std::int64_t line = pixel / g.out_width, image = line / g.out_height;
      const int own_y = static_cast<int>(line - image * g.out_height);
      const int own_x = static_cast<int>(pixel - line * g.out_width);
      const int y = own_y * g.stride_h + from_y, x = own_x * g.stride_w + from_x;
      if (y < 0 || y >= g.height || x < 0 || x >= g.width) continue;
      sum = fmaf(to_float(data[image * p.data_strides.image +
                               (static_cast<std::int64_t>(y) * g.width + x) * p.data_strides.pixel]),
                 to_float(gradient[image * p.gradient_strides.image +
                                   (static_cast<std::int64_t>(own_y) * g.out_width + own_x) *
                                       p.gradient_strides.pixel]),
                 sum);
    }
    sums[threadIdx.y][threadIdx.x] = sum;
    __syncthreads();
    if (threadIdx.y == 0 && output < outputs) {
      for (int i = 1; i < kPlainPixels; ++i) sum += sums[i][threadIdx.x];
      p.partial[(static_cast<std::int64_t>(blockIdx.z) * outputs + output) * columns + column] = sum;
    }
    __syncthreads();
  }
}

template <class T>
__global__ void conv_grad_sum(const __grid_constant__ ConvGradSumParams p) {
  __shared__ float sums[kConvGradSummands][kConvGradSums];
  const std::int64_t all = static_cast<std::int64_t>(p.outputs) * p.columns.count;
  const std::int64_t i = static_cast<std::int64_t>(blockIdx.x) * kConvGradSums + threadIdx.x;
  float sum = 0;
#pragma unroll 4
  for (int split = threadIdx.y; split < p.splits && i < all; split += kConvGradSummands)
    sum += p.partial[split * all + i];
  sums[threadIdx.y][threadIdx.x] = sum;
  __syncthreads();
  if (threadIdx.y != 0 || i >= all) return;
#pragma unroll
  for (int k = 1; k < kConvGradSummands; ++k) sum += sums[k][threadIdx.x];
  const auto output = static_cast<int>(i / p.columns.count);
  const std::int64_t at = weight_of(
      p.columns, output, static_cast<int>(i - static_cast<std::int64_t>(output) * p.columns.count));
  if (at >= 0) static_cast<T*>(p.result)[at] = from_float<T>(sum);
}

// A part of a matrix: [along the sum][row or column].
__device__ void load_part(float (&to)[kProductTile][kProductTile + 1], const ProductOperand& m,
                          int first, int count, int from, int length) {
  const bool is_inner = m.inner.step <= m.outer.step;  // neighbours in memory are neighbours in a warp
  const int x = static_cast<int>(threadIdx.x), y = static_cast<int>(threadIdx.y);
  const int k = is_inner ? x : y, own = is_inner ? y : x;
  const bool is_there = first + own < count && from + k < length;
  to[k][own] = is_there ? real_at(m.data, m.is_half != 0,
                                  offset_of(m.outer, first + own) + offset_of(m.inner, from + k))
                        : 0.0f;
}

__global__ void product_plain(const __grid_constant__ ProductParams p) {
  __shared__ float a[kProductTile][kProductTile + 1], b[kProductTile][kProductTile + 1];
  const int first_row = static_cast<int>(blockIdx.y) * kProductTile;
  const int first_column = static_cast<int>(blockIdx.x) * kProductTile;
  float sum = 0;
  for (int from = 0; from < p.length; from += kProductTile) {
    load_part(a, p.a, first_row, p.rows, from, p.length);
    load_part(b, p.b, first_column, p.columns, from, p.length);
    __syncthreads();
#pragma unroll
    for (int k = 0; k < kProductTile; ++k) sum = fmaf(a[k][threadIdx.y], b[k][threadIdx.x], sum);
    __syncthreads();
  }
  const int row = first_row + static_cast<int>(threadIdx.y);
  const int column = first_column + static_cast<int>(threadIdx.x);
  if (row >= p.rows || column >= p.columns) return;
  if (p.bias != nullptr) sum += real_at(p.bias, p.bias_is_half != 0, column);
  const float value = apply(p.activation, sum);
  const std::int64_t at = offset_of(p.dst_rows, row) + offset_of(p.dst_columns, column);
  if (p.dst_is_half != 0) {
    static_cast<__half*>(p.dst)[at] = __float2half_rn(value);
  } else {
    static_cast<float*>(p.dst)[at] = value;
  }
}

MARU_CUDA_FUNCTION("conv_grad_data_plain_f16", conv_grad_data_plain<__half>)
MARU_CUDA_FUNCTION("conv_grad_data_plain_f32", conv_grad_data_plain<float>)
MARU_CUDA_FUNCTION("conv_grad_weight_plain_f16", conv_grad_weight_plain<__half>)
MARU_CUDA_FUNCTION("conv_grad_weight_plain_f32", conv_grad_weight_plain<float>)
MARU_CUDA_FUNCTION("conv_grad_sum_f16", conv_grad_sum<__half>)
MARU_CUDA_FUNCTION("conv_grad_sum_f32", conv_grad_sum<float>)
MARU_CUDA_FUNCTION("product_plain", product_plain)

}  // namespace
}  // namespace maru::cuda
