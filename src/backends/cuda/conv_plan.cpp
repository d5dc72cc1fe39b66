#include "backends/cuda/conv_plan.h"

#include <algorithm>
#include <bit>
#include <cmath>
#include <cstring>

#include "tensor/half.h"

namespace maru::cuda {
namespace {

std::int64_t tiles_for(std::int64_t n, std::int64_t unit) { return (n + unit - 1) / unit; }

// Rounded to the nearest number of 10 bits of mantissa, ties away, as cvt.rna.tf32 does.
float as_tf32(float value) {
  if (!std::isfinite(value)) return value;
  return std::bit_cast<float>((std::bit_cast<std::uint32_t>(value) + 0x1000u) & ~0x1fffu);
}

std::string_view name_of(ConvPlan::Math math) {
  return math == ConvPlan::Math::f16 ? "f16" : math == ConvPlan::Math::tf32 ? "tf32" : "f32";
}

// Multiply-adds a clock of a multiprocessor that the tile keeps busy, measured on an H200.
double rate_of(const ConvTile& tile, ConvPlan::Math math) {
  const double size = tile.pixels * tile.outputs;
  const double tensor = size >= 16384  ? 1100
                        : size >= 8192 ? 950
                        : size >= 4096 ? 700
                        : size >= 2048 ? 450
                                       : 300;
  const double plain = size >= 8192 ? 100 : size >= 4096 ? 90 : size >= 2048 ? 70 : 50;
  return math == ConvPlan::Math::f16 ? tensor : math == ConvPlan::Math::tf32 ? tensor / 2 : plain;
}

}  // namespace

bool ConvPlan::takes(const ConvShape& shape, Math math, Source source) {
  if (std::ranges::max(shape.kernel) > kMostTaps) return false;
  if (shape.pixels() > std::int64_t{1} << 30) return false;
  const int lanes = kChunkBytes / (math == Math::f16 ? 2 : 4);
  if (source == Source::four) return shape.groups == 1 && shape.channels <= 4;
  return shape.channels / shape.groups % lanes == 0;
}

std::vector<ConvPlan> ConvPlan::candidates(const ConvShape& shape, Math math, Source source,
                                           const ConvDevice& device) {
  std::vector<ConvPlan> all;
  for (const ConvTile& tile : kConvTiles) {
    ConvPlan plan;
    plan.shape = shape;
    plan.math = math;
    plan.source = source;
    plan.tile = tile;
    if (conv_shared_bytes(tile) > device.shared_bytes) continue;
    if (plan.is_pairs() && (tile.outputs > 64 || tile.pixels < 64)) continue;  // not made
    const std::int64_t blocks = tiles_for(shape.pixels(), tile.pixels) *
                                tiles_for(shape.outputs / shape.groups, tile.outputs) * shape.groups;
    constexpr int kMostSplits = 8, kBusy = 2, kLeastSteps = 2;
    for (int splits = 1; splits <= kMostSplits; splits *= 2) {
      if (splits > 1 &&
          (blocks * splits > kBusy * device.multiprocessors || plan.steps() < kLeastSteps * splits))
        break;
      plan.splits = splits;
      plan.splits_meet = splits > 1 && device.capability >= 90;
      const double clock = 1.7e9, own_steps = std::ceil(static_cast<double>(plan.steps()) / splits);
      const double macs = static_cast<double>(tile.pixels) * tile.outputs * kStepChunks * plan.lanes();
      const double busy = static_cast<double>(tiles_for(blocks * splits, device.multiprocessors)) *
                          own_steps * macs / rate_of(tile, math);
      constexpr double kStepLatency = 250, kStart = 3000, kMeet = 900;  // clocks
      plan.seconds =
          (kStart + std::max(busy, own_steps * kStepLatency) + (splits > 1 ? kMeet : 0)) / clock;
      all.push_back(plan);
    }
  }
  std::ranges::stable_sort(all, {}, &ConvPlan::seconds);
  return all;
}

int ConvPlan::tap_chunks() const {
  if (is_pairs()) return static_cast<int>(tiles_for(shape.kernel[1], 2));
  if (source == Source::four) return 1;
  return shape.channels / shape.groups / lanes();
}

int ConvPlan::steps() const {
  const int taps = is_pairs() ? shape.kernel[0] : shape.kernel[0] * shape.kernel[1];
  return static_cast<int>(tiles_for(std::int64_t{taps} * tap_chunks(), kStepChunks));
}

std::size_t ConvPlan::packed_bytes() const {
  return static_cast<std::size_t>(shape.outputs) * static_cast<std::size_t>(steps()) * kStepChunks *
         kChunkBytes;
}

void ConvPlan::pack(std::span<const float> weights, std::span<std::byte> packed) const {
  std::ranges::fill(packed, std::byte{0});
  const int channels = shape.channels / shape.groups, columns = shape.kernel[1];
  const int taps = shape.kernel[0] * columns;
  const std::size_t row = packed_bytes() / static_cast<std::size_t>(shape.outputs);
  for (int output = 0; output < shape.outputs; ++output) {
    std::byte* to = packed.data() + static_cast<std::size_t>(output) * row;
    const float* from = weights.data() + static_cast<std::ptrdiff_t>(output) * channels * taps;
    for (int channel = 0; channel < channels; ++channel) {
      for (int tap = 0; tap < taps; ++tap) {
        const float value = from[channel * taps + tap];
        const int first = is_pairs() ? tap / columns * tap_chunks() * lanes() + tap % columns * 4
                                     : tap * tap_chunks() * lanes();
        const auto at = static_cast<std::size_t>(first + channel);
        if (math == Math::f16) {
          const std::uint16_t half = to_half(value);
          std::memcpy(to + at * sizeof half, &half, sizeof half);
        } else {
          const float rounded = math == Math::tf32 ? as_tf32(value) : value;
          std::memcpy(to + at * sizeof rounded, &rounded, sizeof rounded);
        }
      }
    }
  }
}

std::string ConvPlan::form() const {
  std::string form = "cuda conv " + std::string(name_of(math));
  for (const int n : {shape.outputs, shape.groups, shape.channels, shape.kernel[0], shape.kernel[1]})
    form += " " + std::to_string(n);
  return form + (source == Source::four ? " of 4" : "");
}

std::string ConvPlan::function() const {
  return "conv_" + std::string(name_of(math)) + (is_pairs() ? "_pixels_" : "_") +
         std::to_string(tile.pixels) + "x" + std::to_string(tile.outputs);
}

std::string ConvPlan::name() const {
  return function() + (splits > 1 ? " by " + std::to_string(splits) : "");
}

std::array<unsigned, 3> ConvPlan::grid() const {
  const std::int64_t tiles = tiles_for(shape.pixels(), tile.pixels) *
                             tiles_for(shape.outputs / shape.groups, tile.outputs) * shape.groups;
  return {static_cast<unsigned>(tiles), 1, static_cast<unsigned>(splits)};
}

std::size_t ConvPlan::workspace_bytes() const {
  if (splits == 1 || splits_meet) return 0;
  return static_cast<std::size_t>(splits) * static_cast<std::size_t>(shape.pixels() * shape.outputs) *
         sizeof(float);
}

ConvParams ConvPlan::params() const {
  ConvParams params{};
  params.height = shape.size[0];
  params.width = shape.size[1];
  params.out_height = shape.result[0];
  params.out_width = shape.result[1];
  params.kernel_h = shape.kernel[0];
  params.kernel_w = shape.kernel[1];
  params.stride_h = shape.stride[0];
  params.stride_w = shape.stride[1];
  params.pad_h = shape.pad[0];
  params.pad_w = shape.pad[1];
  params.dilation_h = shape.dilation[0];
  params.dilation_w = shape.dilation[1];
  params.pixels = static_cast<std::int32_t>(shape.pixels());
  params.outputs = shape.outputs / shape.groups;
  params.groups = shape.groups;
  params.tap_chunks = tap_chunks();
  params.steps = steps();
  params.group_tiles = static_cast<std::int32_t>(tiles_for(params.outputs, tile.outputs));
  return params;
}

}  // namespace maru::cuda
