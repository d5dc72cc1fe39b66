#include "backends/opencl/conv_plan.h"

#include <algorithm>
#include <array>

#include "base/error.h"

namespace maru::opencl {
namespace {

struct Tile {
  int pixels, blocks;
  double rate;  // relative; 0: not without measuring
};

// What registers hold: 32 of AVX-512 and NEON, 16 of AVX2; GPUs want many work items rather than large
// ones. Rates were measured by bench/kernels/opencl_conv.cpp, those of GPUs are guesses.
std::span<const Tile> tiles_of(const Runtime& runtime) {
  static constexpr std::array kWide{Tile{7, 2, 1.0}, Tile{7, 1, 0.95}};
  static constexpr std::array kMiddle{Tile{6, 2, 1.0}, Tile{6, 1, 0.7}, Tile{4, 3, 0}};
  static constexpr std::array kNarrow{Tile{4, 4, 1.0}, Tile{4, 2, 0.9}, Tile{4, 3, 0}};
  static constexpr std::array kGpu{Tile{4, 2, 1.0}, Tile{2, 2, 0.7}, Tile{1, 1, 0.35},
                                   Tile{4, 4, 0},   Tile{4, 1, 0},   Tile{8, 2, 0}};
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

std::vector<ConvPlan> ConvPlan::candidates(const Conv& conv, const Call& call, const Runtime& runtime) {
  const Window& window = conv.window;
  const Shape &from = call.src[0].shape, &to = call.dst[0].shape;
  const int height = static_cast<int>(to[2]), width = static_cast<int>(to[3]), image = height * width;
  ConvPlan base;
  base.block = runtime.block;
  base.merged = merged_groups(conv, from[1], base.block);
  base.groups = static_cast<int>(conv.group) / base.merged;
  base.inputs = static_cast<int>(from[1]) / base.groups;
  base.outputs = static_cast<int>(conv.outputs) / base.groups;
  base.taps = static_cast<int>(window.kernel[0] * window.kernel[1]);
  const bool is_pointwise = base.taps == 1 && window.stride == std::array<std::int64_t, 2>{1, 1} &&
                            window.pad == std::array<std::int64_t, 2>{0, 0};
  const bool is_first = call.src[0].layout.kind == Layout::Kind::plain;

  std::vector<ConvPlan> all;
  const auto add = [&](const Tile& tile, Function which, bool by_rows) {
    ConvPlan plan = base;
    plan.function = which;
    plan.pixels = tile.pixels;
    plan.blocks = tile.blocks;
    plan.out_tiles = tiles_for(tiles_for(plan.outputs, plan.block), tile.blocks);
    plan.row_tiles = by_rows ? tiles_for(width, tile.pixels) : 0;
    plan.pixel_tiles = by_rows ? plan.row_tiles * height : tiles_for(image, tile.pixels);
    const double items = static_cast<double>(plan.pixel_tiles) * plan.out_tiles * plan.groups *
                         static_cast<double>(to[0]);
    const double busy =
        runtime.is_cpu ? 1 : std::min(1.0, items / (kItemsPerUnit * runtime.compute_units));
    // With stride 1 the columns of a kernel share what a tile within a row has read.
    const bool shares = by_rows && base.taps > 1 && window.stride[1] == 1;
    const double effort = which == Function::line && !shares ? 7.0 / 6 : 1;
    plan.work = items * tile.pixels * tile.blocks * effort / (tile.rate * busy);
    all.push_back(plan);
  };
  for (const Tile& tile : tiles_of(runtime)) {
    if (is_first) {
      add(tile, Function::first, true);
    } else if (is_pointwise && image >= tile.pixels) {
      add(tile, Function::flat, false);
    } else {
      add(tile, Function::line, false);
      if (base.taps > 1 && window.stride[1] == 1) add(tile, Function::line, true);
    }
  }
  std::ranges::stable_sort(all, {}, &ConvPlan::work);
  return all;
}

std::string ConvPlan::function_name() const {
  return function == Function::flat   ? "conv_flat"
         : function == Function::line ? "conv_line"
                                      : "conv_first";
}

std::string ConvPlan::name() const {
  return fmt::format("{} {}x{}{}", function_name(), pixels, blocks * block,
                     function == Function::line && row_tiles > 0 ? " by rows" : "");
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

void ConvPlan::pack_weights(std::span<const float> weights, PackedFloats packed) const {
  MARU_ASSERT(packed.size() == packed_weights());
  const int lanes = blocks * block, own_inputs = inputs / merged, own_outputs = outputs / merged;
  const int step = function == Function::first ? inputs : block;  // inputs that lie together
  std::size_t next = 0;
  // The weights of one output, which lie side by side; null beyond the last.
  std::vector<const float*> rows(static_cast<std::size_t>(lanes));
  const auto put = [&](int channel, int tap, int first_output) {
    for (int lane = 0; lane < lanes; ++lane) {
      const int part = (first_output + lane) / own_outputs;  // of the merged groups
      const int own = channel - part * own_inputs;
      const float* row = rows[static_cast<std::size_t>(lane)];
      const bool meets = row != nullptr && own >= 0 && own < own_inputs;
      packed.set(next++, meets ? row[static_cast<std::ptrdiff_t>(own) * taps + tap] : 0.0f);
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
