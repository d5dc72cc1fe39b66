// What conv_grad_data_plain_* and conv_grad_weight_plain_* take: gradients of any convolution, of
// tensors in any layout of equal steps. By data, a thread for each pixel's channel; by weights, a block
// of 32 x 8 threads for 32 outputs of one column (conv_grad.h), whose sums conv_grad_sum adds.
//
// product_plain: any product of matrices of any steps, a block for 16 x 16 of it.
#pragma once

#include "backends/cuda/kernels/activation.h"
#include "backends/cuda/kernels/conv_grad.h"
#include "backends/cuda/kernels/conv_plain.h"

namespace maru::cuda {

struct ConvGradDataPlainParams {
  const void* gradient;
  const void* weights;
  void* dst;
  ConvGeometry geometry;  // of the convolution
  ConvStrides gradient_strides, dst_strides;
  std::int64_t weight_output, weight_input, weight_tap;  // strides of weights
  std::int32_t has_halves;                               // weights are f16, not f32
  std::int32_t images, inputs, outputs, groups;          // inputs and outputs of one group
};

// The grid is outputs by 32; columns, and beyond; splits of the pixels.
constexpr int kPlainOutputs = 32, kPlainPixels = 8;
struct ConvGradWeightPlainParams {
  const void* data;
  const void* gradient;
  float* partial;  // [split][output of all groups][column]; a column is tap * inputs + input
  ConvGeometry geometry;
  ConvStrides data_strides, gradient_strides;
  std::int32_t images, inputs, outputs, groups;  // inputs and outputs of one group
};

// Where an index leads: each `period` of them far_step elements further, within it by `step`.
struct Steps {
  std::int64_t step, far_step;
  std::int32_t period;
};
MARU_BOTH constexpr std::int64_t offset_of(const Steps& steps, std::int32_t index) {
  const std::int32_t far = index / steps.period;
  return far * steps.far_step + (index - far * steps.period) * steps.step;
}

struct ProductOperand {
  const void* data;
  Steps outer, inner;    // by rows or columns of the product; along the sum
  std::int32_t is_half;  // else f32
};

constexpr int kProductTile = 16;
struct ProductParams {
  ProductOperand a, b;  // rows by length, columns by length
  const void* bias;     // null, or one a column
  void* dst;
  Activation activation;
  Steps dst_rows, dst_columns;
  std::int32_t rows, columns, length;
  std::int32_t bias_is_half, dst_is_half;
};

}  // namespace maru::cuda
