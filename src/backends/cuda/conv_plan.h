// ConvPlan: how a convolution runs on the functions of kernels/conv.h: arithmetic, tile, splits of the
// sum, and how its weights are laid out for that. A value, computed from the shape and the device
// alone.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "backends/cuda/kernels/conv.h"
#include "backends/cuda/kernels/conv_pack.h"

namespace maru::cuda {

// What is convolved. Two-element arrays are height, width.
struct ConvShape {
  int images = 1, channels = 1, outputs = 1, groups = 1;
  std::array<int, 2> size{1, 1}, kernel{1, 1}, stride{1, 1}, pad{0, 0}, dilation{1, 1};
  std::array<int, 2> result{1, 1};  // height and width of dst

  std::int64_t pixels() const { return std::int64_t{images} * result[0] * result[1]; }
  bool operator==(const ConvShape&) const = default;
};

struct ConvDevice {
  int capability = 75;  // 90 for 9.0
  int multiprocessors = 1;
  std::size_t shared_bytes = 0;  // of one block, at most
};

struct ConvPlan {
  enum class Math { f16, tf32, f32 };
  // channels: src has all channels of a pixel side by side, as many as whole chunks. four: 4 channels,
  // of which weights know the first 3 or less; a kind of its own for f16.
  enum class Source { channels, four };

  // Whether there is any plan.
  static bool takes(const ConvShape& shape, Math math, Source source);
  // What seems best first; several to measure.
  static std::vector<ConvPlan> candidates(const ConvShape& shape, Math math, Source source,
                                          const ConvDevice& device);

  // Of plain weights (outputs x channels of a group x taps), in bytes; padding is zero.
  std::size_t packed_bytes() const;
  void pack(std::span<const float> weights, std::span<std::byte> packed) const;
  std::string form() const;  // of the packed weights; equal ones pack equally
  // The same packing by the device, of weights that change. All but addresses; steps are those of
  // weights without gaps, for callers to set otherwise.
  ConvPackParams packing() const;

  std::string name() const;      // "conv_f16_64x32 by 4"
  std::string function() const;  // "conv_f16_64x32"
  std::array<unsigned, 3> grid() const;
  std::array<unsigned, 3> block() const { return {static_cast<unsigned>(conv_threads(tile)), 1, 1}; }
  unsigned shared_bytes() const;
  unsigned cluster() const {
    return splits_meet ? static_cast<unsigned>(splits) : 1;
  }  // blocks along z
  // Of the sums of the splits, where they meet in memory.
  std::size_t workspace_bytes() const;
  // All but addresses, pixel strides and activation.
  ConvParams params() const;

  ConvShape shape;
  Math math = Math::f32;
  Source source = Source::channels;
  ConvTile tile = kConvTiles[0];
  int splits = 1;
  bool splits_meet = false;  // in a cluster
  double seconds = 0;        // estimated

 private:
  bool is_pairs() const { return source == Source::four && math == Math::f16; }
  int lanes() const { return kChunkBytes / (math == Math::f16 ? 2 : 4); }  // of a chunk
  int tap_chunks() const;
  int steps() const;
};

}  // namespace maru::cuda
