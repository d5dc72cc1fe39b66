// The parameters of relayout_*: images from one layout to another. Plain structs, for both sides.
#pragma once

#include <cstdint>

namespace maru::cuda {

// Where the channels and pixels of images are, in elements. Other layouts than blocked ones have blocks
// of one channel.
struct Arrangement {
  std::int64_t image, block, pixel;  // from one to the next; channels of a block are neighbours
  std::int32_t channels;             // of a block
  bool pixels_are_neighbours;        // else channels are
};

// Elements of 1, 2, 4 or 8 bytes: relayout_4 and so on.
struct RelayoutParams {
  const void* src;
  void* dst;
  Arrangement from, to;
  std::uint32_t images, channels, pixels;
  std::uint32_t dst_channels;  // those that fill up the last block are zero
  bool is_aligned;             // relayout_few_*: results can be written four channels at once
};

// relayout_*: tiles of so many channels and pixels; blocks have so many threads by rows of them.
constexpr int kRelayoutTile = 32, kRelayoutRows = 8;
// relayout_few_*: a thread a pixel.
constexpr int kFewChannels = 4;

}  // namespace maru::cuda
