// ConvPlan: how a convolution runs in tiles of registers: which function, how large a tile, and how its
// weights are laid out for that. A value, computed from the call alone.
#pragma once

#include <span>
#include <string>
#include <vector>

#include "backends/opencl/packing.h"
#include "backends/opencl/runtime.h"
#include "device/device.h"
#include "ops/conv.h"

namespace maru::opencl {

struct ConvPlan {
  enum class Function { flat, line, first };

  // What can be done about the call, a dense or grouped convolution from plain channels (few) or blocks
  // to blocks: what seems best first, then what only a measurement could prefer.
  static std::vector<ConvPlan> candidates(const Conv& conv, const Call& call, const Runtime& runtime);

  // Of plain weights and biases, in elements.
  std::size_t packed_weights() const;
  std::size_t packed_biases() const;
  void pack_weights(std::span<const float> weights, PackedFloats packed) const;
  void pack_biases(std::span<const float> biases, std::span<float> packed) const;

  std::string function_name() const;  // "conv_flat"
  std::string name() const;           // "conv_line 7x32 by rows"
  std::string form() const;           // of the packed weights; equal ones pack equally

  Function function = Function::line;
  int block = 1;               // channels
  int pixels = 1, blocks = 1;  // of a tile
  // Groups that share blocks run as one, with zeros where they do not meet.
  int groups = 1, merged = 1;   // after merging; how many became one
  int inputs = 0, outputs = 0;  // of a merged group
  int taps = 0;
  int out_tiles = 0;  // of one merged group
  int row_tiles = 0;  // 0: tiles follow the pixels across rows
  int pixel_tiles = 0;
  double work = 0;  // estimated, in no particular unit
};

// How many groups must run as one so that each begins with a block.
int merged_groups(const Conv& conv, std::int64_t channels, int block);

}  // namespace maru::opencl
