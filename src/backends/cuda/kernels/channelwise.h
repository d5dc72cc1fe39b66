// The parameters of channelwise_*: Scale, Bias, PReLU and BatchNorm. Plain structs, for both sides.
#pragma once

#include "backends/cuda/kernels/rows.h"

namespace maru::cuda {

// Parameters of channels: constants are floats, data is of the call's type.
struct ChannelOperand {
  const void* at;
  bool is_half;
  bool is_aligned;
};

struct ChannelwiseParams {
  enum class Kind : std::int32_t { scale, affine, bias, prelu, batch_norm };

  Kind kind;
  const void* src;
  void* dst;
  // Factor, or mean; bias, or variance; for batch_norm, of how much both are sums. Where a kind has
  // none, any will do.
  ChannelOperand a, b, count;
  std::int64_t src_stride, dst_stride;  // from one row to the next, in elements
  Rows rows;                            // of an image or a pixel: runs of `inner` for each channel
  std::uint32_t inner;                  // 1 where rows are taken by vectors
  float epsilon;
  bool is_shared;  // one parameter for all channels
  bool is_aligned;
};

}  // namespace maru::cuda
