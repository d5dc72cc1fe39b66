#include "backends/opencl/conv_plan.h"

#include <algorithm>
#include <array>

#include "base/error.h"

namespace maru::opencl {
namespace {

struct Tile {
  int pixels, blocks;
  double rate;  // relative
};

// What registers hold: 32 of AVX-512 and NEON, 16 of AVX2; GPUs want many work items rather than large
// ones. Rates were measured by bench/kernels/opencl_conv.cpp.
std::span<const Tile> tiles_of(const Runtime& runtime) {
  static constexpr std::array kWide{Tile{7, 2, 1.0}, Tile{7, 1, 0.95}};
  static constexpr std::array kMiddle{Tile{6, 2, 1.0}, Tile{6, 1, 0.7}};
  static constexpr std::array kNarrow{Tile{4, 4, 1.0}, Tile{4, 2, 0.9}};
  static constexpr std::array kGpu{Tile{4, 2, 1.0}, Tile{2, 2, 0.7}, Tile{1, 1, 0.35}};
  if (!runtime.is_cpu) return kGpu;
  return runtime.block == 16 ? std::span<const Tile>(kWide) : runtime.block == 8 ? kMiddle : kNarrow;
}

// Work items that a GPU needs to be busy.
constexpr double kItemsPerUnit = 256;

int round_up(int n, int unit) { return (n + unit - 1) / unit * unit; }
int tiles_for(int n, int unit) { return (n + unit - 1) / unit; }

}  // namespace

int merged_groups(const Conv& conv, std::int64_t channels, int block) {
  const std::int64_t inputs = channels / conv.group, outputs = conv.outputs / conv.group;
  for (std::int64_t merged = 1; merged < conv.group; ++merged) {
    if (conv.group % merged == 0 && merged * inputs % block == 0 && merged * outputs % block == 0) {
      return static_cast<int>(merged);
    }
  }
  return static_cast<int>(conv.group);
}

ConvPlan::ConvPlan(const Conv& conv, const Call& call, const Runtime& runtime) : block(runtime.block) {
  const Window& window = conv.window;
  const Shape &from = call.src[0].shape, &to = call.dst[0].shape;
  const int width = static_cast<int>(to[3]), image = static_cast<int>(to[2] * to[3]);
  merged = merged_groups(conv, from[1], block);
  groups = static_cast<int>(conv.group) / merged;
  inputs = static_cast<int>(from[1]) / groups;
  outputs = static_cast<int>(conv.outputs) / groups;
  taps = static_cast<int>(window.kernel[0] * window.kernel[1]);
  const bool is_pointwise = taps == 1 && window.stride == std::array<std::int64_t, 2>{1, 1} &&
                            window.pad == std::array<std::int64_t, 2>{0, 0};
  const bool is_first = call.src[0].layout.kind == Layout::Kind::plain;

  double best = 0;
  for (const Tile& tile : tiles_of(runtime)) {
    const int outs = tiles_for(tiles_for(outputs, block), tile.blocks);
    // A tile that ends with its row lets the columns of a kernel share what was read, which is worth
    // about as much as one pixel in six.
    const int in_row = tiles_for(width, tile.pixels);
    const bool by_rows =
        is_first || (taps > 1 && window.stride[1] == 1 && in_row * tile.pixels * 6 <= width * 7);
    const Function wanted = is_first                               ? Function::first
                            : is_pointwise && image >= tile.pixels ? Function::flat
                                                                   : Function::line;
    const int pixel_count = by_rows ? in_row * static_cast<int>(to[2]) : tiles_for(image, tile.pixels);
    const double items = static_cast<double>(pixel_count) * outs * groups * static_cast<double>(to[0]);
    const double work = items * tile.pixels * tile.blocks * block * 2.0 * inputs * taps;
    const double busy =
        runtime.is_cpu ? 1 : std::min(1.0, items / (kItemsPerUnit * runtime.compute_units));
    const double seconds = work / (tile.rate * busy);
    if (best > 0 && seconds >= best) continue;
    best = seconds;
    flops = work / tile.rate;
    function = wanted;
    pixels = tile.pixels;
    blocks = tile.blocks;
    out_tiles = outs;
    row_tiles = by_rows ? in_row : 0;
    pixel_tiles = pixel_count;
  }
}

std::string ConvPlan::function_name() const {
  return function == Function::flat   ? "conv_flat"
         : function == Function::line ? "conv_line"
                                      : "conv_first";
}

std::string ConvPlan::form() const {
  return fmt::format("opencl conv {} of {}, {} groups of {} to {}{}", blocks, block, groups, inputs,
                     outputs, function == Function::first ? ", plain" : "");
}

std::size_t ConvPlan::packed_weights() const {
  const int padded = function == Function::first ? inputs : round_up(inputs, 4);
  return static_cast<std::size_t>(groups) * out_tiles * blocks * block * padded * taps;
}

std::size_t ConvPlan::packed_biases() const {
  return static_cast<std::size_t>(groups) * out_tiles * blocks * block;
}

void ConvPlan::pack_weights(std::span<const float> weights, std::span<float> packed) const {
  MARU_ASSERT(packed.size() == packed_weights());
  const int lanes = blocks * block, own_inputs = inputs / merged, own_outputs = outputs / merged;
  const int step = function == Function::first ? inputs : block;  // inputs that lie together
  float* to = packed.data();
  // The weights of one output, which lie side by side; null beyond the last.
  std::vector<const float*> rows(static_cast<std::size_t>(lanes));
  const auto put = [&](int channel, int tap, int first_output) {
    for (int lane = 0; lane < lanes; ++lane) {
      const int part = (first_output + lane) / own_outputs;  // of the merged groups
      const int own = channel - part * own_inputs;
      const float* row = rows[static_cast<std::size_t>(lane)];
      const bool meets = row != nullptr && own >= 0 && own < own_inputs;
      *to++ = meets ? row[static_cast<std::ptrdiff_t>(own) * taps + tap] : 0.0f;
    }
  };
  for (int out = 0; out < groups * out_tiles; ++out) {
    const int group = out / out_tiles, first_output = out % out_tiles * lanes;
    for (int lane = 0; lane < lanes; ++lane) {
      const int output = first_output + lane;
      const std::ptrdiff_t row = static_cast<std::ptrdiff_t>(group) * outputs + output;
      rows[static_cast<std::size_t>(lane)] =
          output < outputs ? weights.data() + row * own_inputs * taps : nullptr;
    }
    for (int begin = 0; begin < inputs; begin += step) {
      const int count = std::min(step, inputs - begin);
      const int padded = function == Function::first ? count : round_up(count, 4);
      if (function == Function::first) {
        for (int channel = begin; channel < begin + count; ++channel) {
          for (int tap = 0; tap < taps; ++tap) put(channel, tap, first_output);
        }
        continue;
      }
      for (int tap = 0; tap < taps; ++tap) {
        for (int channel = begin; channel < begin + padded; ++channel) put(channel, tap, first_output);
      }
    }
  }
}

void ConvPlan::pack_biases(std::span<const float> biases, std::span<float> packed) const {
  MARU_ASSERT(packed.size() == packed_biases());
  std::ranges::fill(packed, 0.0f);
  const std::size_t whole = packed.size() / static_cast<std::size_t>(groups);
  const auto count = static_cast<std::size_t>(outputs);
  for (std::size_t group = 0; group < static_cast<std::size_t>(groups); ++group) {
    std::ranges::copy(biases.subspan(group * count, count), packed.begin() + group * whole);
  }
}

}  // namespace maru::opencl
