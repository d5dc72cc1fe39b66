#include "backends/cuda/conv_grad_plan.h"

#include <algorithm>
#include <cmath>

namespace maru::cuda {
namespace {

constexpr std::int64_t kMostPixels = std::int64_t{1} << 30;

int tiles_for(std::int64_t n, std::int64_t unit) { return static_cast<int>((n + unit - 1) / unit); }

std::string_view name_of(ConvPlan::Math math) {
  return math == ConvPlan::Math::f16 ? "f16" : math == ConvPlan::Math::tf32 ? "tf32" : "f32";
}

// Clocks before and after the steps, of a step of a block that has a multiprocessor for itself, and
// multiply-adds a clock of one that is full, in the order of kConvGradTiles; after conv_plan.cpp's.
struct TileCost {
  double ends, step, rate;
};
constexpr TileCost kTensorCosts[] = {
    {6000, 1100, 750}, {5000, 900, 620}, {5000, 900, 620}, {4000, 550, 520}};
constexpr TileCost kPlainCosts[] = {
    {6000, 6000, 80}, {5000, 5000, 75}, {5000, 5000, 75}, {4000, 2200, 70}};
// Of the second launch; and of the sums of the splits, written and read: half of what a card's memory
// moves, a multiprocessor's share.
constexpr double kSumSeconds = 3e-6, kClock = 1.75e9, kSumBytes = 12e9;

}  // namespace

bool ConvGradPlan::takes(const ConvShape& shape, ConvPlan::Math math, ConvPlan::Source source) {
  const int lanes = kChunkBytes / (math == ConvPlan::Math::f16 ? 2 : 4);
  const std::int64_t data_pixels = std::int64_t{shape.images} * shape.size[0] * shape.size[1];
  if (shape.pixels() > kMostPixels || data_pixels > kMostPixels) return false;
  if (shape.outputs / shape.groups % lanes != 0) return false;
  if (source == ConvPlan::Source::four) return shape.groups == 1 && shape.channels <= 4;
  return shape.channels / shape.groups % lanes == 0;
}

std::vector<ConvGradPlan> ConvGradPlan::candidates(const ConvShape& shape, ConvPlan::Math math,
                                                   ConvPlan::Source source, const ConvDevice& device) {
  constexpr int kLeastSteps = 4;  // of a split, where there are several
  std::vector<ConvGradPlan> all;
  for (const ConvGradTile& tile : kConvGradTiles) {
    ConvGradPlan plan;
    plan.shape = shape;
    plan.math = math;
    plan.source = source;
    plan.tile = tile;
    if (plan.shared_bytes() > device.shared_bytes) continue;
    if (plan.is_pairs() && tile.outputs > 64) continue;  // not made
    const TileCost& cost =
        (math == ConvPlan::Math::f32 ? kPlainCosts : kTensorCosts)[&tile - kConvGradTiles];
    const double rate = math == ConvPlan::Math::tf32 ? cost.rate / 2 : cost.rate;
    const double step_macs =
        static_cast<double>(tile.outputs) * tile.columns * conv_grad_step(plan.element());
    const std::int64_t tiles = std::int64_t{plan.column_tiles()} * plan.output_tiles() * shape.groups;
    const int most = std::max(1, plan.steps() / kLeastSteps);
    int last = 0;
    for (const int blocks : {0, 1, 2, 4}) {  // of a multiprocessor
      const std::int64_t wanted = std::int64_t{blocks} * device.multiprocessors / tiles;
      plan.splits = static_cast<int>(std::clamp<std::int64_t>(wanted, 1, most));
      if (plan.splits == last) continue;
      last = plan.splits;
      const double steps = tiles_for(plan.steps(), plan.splits);
      const double waves = std::ceil(static_cast<double>(tiles * plan.splits) / device.multiprocessors);
      const double clocks = cost.ends + std::max(waves * steps * step_macs / rate, steps * cost.step);
      plan.seconds = clocks / kClock;
      if (plan.splits > 1) {
        plan.seconds += kSumSeconds + 2 * static_cast<double>(plan.workspace_bytes()) /
                                          (kSumBytes * device.multiprocessors);
      }
      all.push_back(plan);
    }
  }
  std::ranges::stable_sort(all, {}, &ConvGradPlan::seconds);
  return all;
}

int ConvGradPlan::tap_chunks() const {
  if (is_pairs()) return tiles_for(shape.kernel[1], 2);
  if (source == ConvPlan::Source::four) return 1;
  return shape.channels / shape.groups / lanes();
}

int ConvGradPlan::column_chunks() const {
  return (is_pairs() ? shape.kernel[0] : shape.kernel[0] * shape.kernel[1]) * tap_chunks();
}

int ConvGradPlan::steps() const { return tiles_for(shape.pixels(), conv_grad_step(element())); }

int ConvGradPlan::column_tiles() const {
  return tiles_for(std::int64_t{column_chunks()} * lanes(), tile.columns);
}

int ConvGradPlan::output_tiles() const { return tiles_for(shape.outputs / shape.groups, tile.outputs); }

std::string ConvGradPlan::function() const {
  return "conv_grad_" + std::string(name_of(math)) + (is_pairs() ? "_pixels_" : "_") +
         std::to_string(tile.outputs) + "x" + std::to_string(tile.columns);
}

std::string ConvGradPlan::name() const {
  return function() + (splits > 1 ? " by " + std::to_string(splits) : "");
}

std::array<unsigned, 3> ConvGradPlan::grid() const {
  return {static_cast<unsigned>(column_tiles() * output_tiles() * shape.groups),
          static_cast<unsigned>(splits), 1};
}

unsigned ConvGradPlan::shared_bytes() const {
  return static_cast<unsigned>(kConvGradStages) * conv_grad_stage_bytes(tile, element());
}

std::size_t ConvGradPlan::workspace_bytes() const {
  if (splits == 1) return 0;
  return static_cast<std::size_t>(splits) * static_cast<std::size_t>(shape.outputs) *
         static_cast<std::size_t>(column_chunks() * lanes()) * sizeof(float);
}

ConvGradParams ConvGradPlan::params(std::int64_t output_step) const {
  const int taps = shape.kernel[0] * shape.kernel[1];
  ConvGradParams params{};
  params.columns.output_step = output_step;
  params.columns.channel_step = taps;
  params.columns.tap_step = 1;
  params.columns.count = column_chunks() * lanes();
  params.columns.tap_length = is_pairs() ? 4 : tap_chunks() * lanes();
  params.columns.line_length =
      is_pairs() ? tap_chunks() * lanes() : shape.kernel[1] * params.columns.tap_length;
  params.columns.line_taps = shape.kernel[1];
  params.columns.channels = shape.channels / shape.groups;
  params.by_width = divider_of(shape.result[1]);
  params.by_height = divider_of(shape.result[0]);
  params.height = shape.size[0];
  params.width = shape.size[1];
  params.result_height = shape.result[0];
  params.result_width = shape.result[1];
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
  params.group_chunks = shape.groups == 1 ? 0 : tap_chunks();
  params.tap_chunks = tap_chunks();
  params.column_chunks = column_chunks();
  params.steps = steps();
  params.column_tiles = column_tiles();
  params.output_tiles = output_tiles();
  return params;
}

DataGradient::DataGradient(const ConvShape& shape) : of(shape), conv(shape) {
  conv.channels = shape.outputs;
  conv.outputs = shape.channels;
  conv.size = shape.result;
  conv.result = shape.size;
  conv.stride = {1, 1};
  const bool has_stride = shape.stride != std::array{1, 1};
  spreads_after = has_stride && shape.kernel == std::array{1, 1};
  spreads_before = has_stride && !spreads_after;
  if (spreads_after) {
    conv.result = shape.result;
    conv.pad = {0, 0};
    return;
  }
  for (std::size_t axis = 0; axis < 2; ++axis) {
    conv.size[axis] = (shape.result[axis] - 1) * shape.stride[axis] + 1;
    // A pixel of the data is reached by the last tap from the pixel of the result that lies so far
    // before it. May be negative: then the gradient's edge reaches no data.
    conv.pad[axis] = shape.dilation[axis] * (shape.kernel[axis] - 1) - shape.pad[axis];
  }
}

void DataGradient::exchange(ConvPackParams& packing, std::int64_t output_step) const {
  const int taps = of.kernel[0] * of.kernel[1];
  packing.group_step = output_step * (of.outputs / of.groups);
  packing.row_step = taps;
  packing.channel_step = output_step;
  packing.first = taps - 1;
  packing.line_step = -of.kernel[1];
  packing.tap_step = -1;
  packing.rows_are_neighbours = 1;
}

ConvExpandParams DataGradient::spread() const {
  ConvExpandParams params{};
  const std::array<int, 2>& to = spreads_after ? of.size : conv.size;
  params.images = of.images;
  params.channels = spreads_after ? of.channels : of.outputs;
  params.height = to[0];
  params.width = to[1];
  params.src_height = of.result[0];
  params.src_width = of.result[1];
  params.stride_h = of.stride[0];
  params.stride_w = of.stride[1];
  params.pad_h = spreads_after ? of.pad[0] : 0;
  params.pad_w = spreads_after ? of.pad[1] : 0;
  return params;
}

}  // namespace maru::cuda
