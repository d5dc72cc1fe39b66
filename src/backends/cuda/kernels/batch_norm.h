// The parameters of batch_norm_*: batch normalisation in training, and its gradient. Plain structs, for
// both sides.
#pragma once

#include <cstdint>

namespace maru::cuda {

// Threads of a block: lanes of vectors of channels by rows. Plain images, of which a block has one
// channel, are rows of one pixel.
constexpr int kBatchNormThreads = 256;
// Of the functions that add up what the blocks have: channels by parts.
constexpr int kBatchNormChannels = 32, kBatchNormParts = 32;

// Images: as rows of channels side by side, `stride` apart, or, plain, as pixels side by side for each
// channel, `stride` from image to image. In elements.
struct BatchNormData {
  const void* at;
  std::int64_t stride;
  bool is_aligned;
};

struct BatchNormParams {
  BatchNormData x, gradient;
  void* dst;
  std::int64_t dst_stride;
  bool is_dst_aligned;
  // Of channels, f32. Statistics are results forward and operands backward; there may be no parameters.
  const float *scale, *bias;
  float *mean, *variance;
  float *scale_gradient, *bias_gradient;
  // Two floats of each channel from each part: mean and sum of squares around it, or two sums.
  float* parts;
  // Arrays of a float a channel: mean, factor, bias; backward also what x is multiplied by, and what is
  // added: y = factor (x - mean) + bias.
  float* coefficients;
  std::uint32_t rows, channels, pixels;
  std::uint32_t part_rows, part_count;  // rows that a block along x has; how many blocks
  float epsilon, slope;                 // slope 1: no activation
};

// Both sums and the factor, and those of a batch; ops/running_statistics.h.
struct RunningStatisticsParams {
  const float *src_means, *src_variances, *src_factor, *mean, *variance;
  float *means, *variances, *factor;
  std::uint32_t channels;
  float fraction, correction;
};

}  // namespace maru::cuda
