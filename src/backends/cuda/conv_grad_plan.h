// ConvGradPlan: how a gradient of weights runs on the functions of kernels/conv_grad.h: arithmetic,
// tile, splits of the pixels. DataGradient: a gradient of data as a convolution of the result's
// gradient. Values, computed from the shape and the device alone.
#pragma once

#include <array>
#include <string>
#include <vector>

#include "backends/cuda/conv_plan.h"
#include "backends/cuda/kernels/conv_grad.h"
#include "backends/cuda/kernels/conv_pack.h"

namespace maru::cuda {

struct ConvGradPlan {
  // `shape`: of the convolution. Whether there is any plan.
  static bool takes(const ConvShape& shape, ConvPlan::Math math, ConvPlan::Source source);
  // What seems best first; by the estimate alone, so that a device always adds in one order.
  static std::vector<ConvGradPlan> candidates(const ConvShape& shape, ConvPlan::Math math,
                                              ConvPlan::Source source, const ConvDevice& device);

  std::string name() const;      // "conv_grad_f16_128x64 by 4"
  std::string function() const;  // "conv_grad_f16_128x64"
  std::array<unsigned, 3> grid() const;
  std::array<unsigned, 3> block() const {
    return {static_cast<unsigned>(conv_grad_threads(tile)), 1, 1};
  }
  unsigned shared_bytes() const;
  std::size_t workspace_bytes() const;  // of the sums of the splits; 0: there is one split
  // All but addresses and pixel strides. Weights are outputs x channels of a group x taps, an output
  // output_step elements after the one before.
  ConvGradParams params(std::int64_t output_step) const;

  ConvShape shape;
  ConvPlan::Math math = ConvPlan::Math::f32;
  ConvPlan::Source source = ConvPlan::Source::channels;
  ConvGradTile tile = kConvGradTiles[0];
  int splits = 1;
  double seconds = 0;  // estimated

 private:
  bool is_pairs() const { return source == ConvPlan::Source::four && math == ConvPlan::Math::f16; }
  int element() const { return math == ConvPlan::Math::f16 ? 2 : 4; }
  int lanes() const { return kChunkBytes / element(); }
  int tap_chunks() const;
  int column_chunks() const;
  int steps() const;
  int column_tiles() const;
  int output_tiles() const;
};

struct DataGradient {
  // `shape`: of the convolution.
  explicit DataGradient(const ConvShape& shape);

  // Weights for it: flipped, with inputs and outputs exchanged. An output's are output_step elements
  // after those of the one before, in its group's channels by taps.
  void exchange(ConvPackParams& packing, std::int64_t output_step) const;

  ConvShape of;    // the convolution
  ConvShape conv;  // that gives its gradient
  // With strides: its operand is the gradient with zeros between its pixels, or, of 1 x 1, its result
  // is to be spread so.
  bool spreads_before = false, spreads_after = false;
  // All but addresses, pixel strides and alignment.
  ConvExpandParams spread() const;
};

}  // namespace maru::cuda
