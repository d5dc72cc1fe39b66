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

// What tiles cost, in the order of kConvTiles, measured by bench/kernels/cuda_conv on an H200: clocks
// before and after the steps, clocks of a step of a block that has a multiprocessor for itself, and
// multiply-adds a clock of one that is full.
struct TileCost {
  double ends, step, rate;
};
constexpr TileCost kTensorCosts[] = {
    {7500, 1050, 810}, {6000, 850, 680}, {4700, 500, 590}, {3950, 350, 440}, {3400, 300, 370}};
constexpr TileCost kPlainCosts[] = {
    {7500, 5650, 85}, {6000, 4800, 83}, {4700, 1950, 77}, {3950, 1230, 69}, {3400, 1230, 55}};
constexpr double kMeetClocks = 1500, kClock = 1.75e9;

double seconds_of(const ConvPlan& plan, std::size_t tile, double blocks, double steps, double macs,
                  int multiprocessors) {
  TileCost cost = plan.math == ConvPlan::Math::f32 ? kPlainCosts[tile] : kTensorCosts[tile];
  if (plan.math == ConvPlan::Math::tf32) cost.rate /= 2;
  const double waves = std::ceil(blocks / multiprocessors);
  const double clocks = cost.ends + std::max(waves * steps * macs / cost.rate, steps * cost.step);
  return (clocks + (plan.splits > 1 ? kMeetClocks : 0)) / kClock;
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
    if (conv_shared_bytes(tile) + conv_places_bytes(tile) > device.shared_bytes) continue;
    if (plan.is_pairs() && (tile.outputs > 64 || tile.pixels < 64)) continue;  // not made
    const std::int64_t blocks = tiles_for(shape.pixels(), tile.pixels) *
                                tiles_for(shape.outputs / shape.groups, tile.outputs) * shape.groups;
    constexpr int kBusy = 2, kLeastSteps = 2;
    for (int splits = 1; splits <= kMostSplits; splits *= 2) {
      if (splits > 1 && (blocks * splits > std::int64_t{kBusy} * device.multiprocessors ||
                         plan.steps() < kLeastSteps * splits))
        break;
      plan.splits = splits;
      plan.splits_meet = splits > 1 && device.capability >= 90;
      plan.seconds = seconds_of(
          plan, static_cast<std::size_t>(&tile - kConvTiles), static_cast<double>(blocks) * splits,
          std::ceil(static_cast<double>(plan.steps()) / splits),
          static_cast<double>(tile.pixels) * tile.outputs * kStepChunks * plan.lanes(),
          device.multiprocessors);
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
        const int index = first + channel;
        const auto at = static_cast<std::size_t>(index);
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

ConvPackParams ConvPlan::packing() const {
  const int channels = shape.channels / shape.groups, taps = shape.kernel[0] * shape.kernel[1];
  ConvPackParams packing{};
  packing.groups = shape.groups;
  packing.rows = packing.inner_rows = shape.outputs / shape.groups;
  packing.row_length = steps() * kStepChunks * lanes();
  packing.tap_length = is_pairs() ? 4 : tap_chunks() * lanes();
  packing.line_length = is_pairs() ? tap_chunks() * lanes() : shape.kernel[1] * packing.tap_length;
  packing.lines = shape.kernel[0];
  packing.columns = shape.kernel[1];
  packing.channels = channels;
  packing.row_step = std::int64_t{channels} * taps;
  packing.group_step = packing.row_step * packing.rows;
  packing.channel_step = taps;
  packing.line_step = shape.kernel[1];
  packing.tap_step = 1;
  return packing;
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

// What is never loaded needs no room, and more blocks find theirs.
unsigned ConvPlan::shared_bytes() const {
  const auto stages = std::min<std::int64_t>(tile.stages, tiles_for(steps(), splits));
  const auto loaded =
      static_cast<unsigned>(stages) * (conv_shared_bytes(tile) / static_cast<unsigned>(tile.stages));
  return std::max(loaded, conv_sums_bytes(tile));
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
