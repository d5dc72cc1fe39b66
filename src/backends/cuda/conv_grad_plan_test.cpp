// The arithmetic of places, which the CPU and the functions of the module share, against the reference
// kernels: what is packed where, which convolution is a gradient, and which weight a sum belongs to.
#include "backends/cuda/conv_grad_plan.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cstring>
#include <random>

#include "ops/conv_grad.h"
#include "tensor/half.h"

namespace maru::cuda {
namespace {

using Math = ConvPlan::Math;
using Source = ConvPlan::Source;

constexpr ConvDevice kH200{90, 132, 227 << 10}, kTuring{75, 40, 64 << 10};

ConvShape shape_of(const Window& window, int groups, const Shape& data, int outputs) {
  ConvShape shape;
  const auto pair = [](const std::array<std::int64_t, 2>& values) {
    return std::array{static_cast<int>(values[0]), static_cast<int>(values[1])};
  };
  shape.images = static_cast<int>(data[0]);
  shape.channels = static_cast<int>(data[1]);
  shape.outputs = outputs;
  shape.groups = groups;
  shape.size = pair({data[2], data[3]});
  shape.kernel = pair(window.kernel);
  shape.stride = pair(window.stride);
  shape.pad = pair(window.pad);
  shape.dilation = pair(window.dilation);
  for (std::size_t axis = 0; axis < 2; ++axis) {
    shape.result[axis] = static_cast<int>(
        (data[axis + 2] + 2 * window.pad[axis] - window.reach(axis)) / window.stride[axis] + 1);
  }
  return shape;
}

std::vector<float> draw(std::int64_t count) {
  static std::mt19937 random(20161122);
  std::uniform_int_distribution<int> distribution(-8, 8);  // products and sums are exact
  std::vector<float> values(static_cast<std::size_t>(count));
  for (float& value : values) value = static_cast<float>(distribution(random));
  return values;
}

std::size_t at(std::int64_t index) { return static_cast<std::size_t>(index); }

// N x C x H x W as N x H x W x stored.
std::vector<float> channels_last(const std::vector<float>& from, std::int64_t images,
                                 std::int64_t channels, std::int64_t pixels, std::int64_t stored) {
  std::vector<float> to(at(images * pixels * stored));
  for (std::int64_t n = 0; n < images; ++n)
    for (std::int64_t c = 0; c < channels; ++c)
      for (std::int64_t p = 0; p < pixels; ++p)
        to[at((n * pixels + p) * stored + c)] = from[at((n * channels + c) * pixels + p)];
  return to;
}

struct Example {
  Window window;
  int groups = 1;
  Shape data;
  int outputs = 0;
};

const Example kExamples[] = {{{}, 1, {2, 16, 3, 5}, 24},
                             {{{3, 3}, {1, 1}, {1, 1}, {1, 1}}, 1, {2, 8, 6, 5}, 72},
                             {{{5, 3}, {1, 1}, {0, 2}, {1, 1}}, 1, {1, 16, 6, 5}, 8},
                             {{{3, 3}, {1, 1}, {2, 1}, {2, 1}}, 1, {1, 8, 7, 9}, 8},
                             {{{3, 3}, {2, 2}, {1, 1}, {1, 1}}, 1, {2, 8, 9, 10}, 16},
                             {{{2, 2}, {3, 3}, {0, 0}, {1, 1}}, 1, {1, 8, 10, 9}, 8},
                             {{{1, 1}, {2, 3}, {0, 1}, {1, 1}}, 1, {2, 8, 8, 9}, 16},
                             {{{1, 1}, {1, 1}, {1, 1}, {1, 1}}, 1, {1, 24, 5, 4}, 16},
                             {{{3, 3}, {1, 1}, {1, 1}, {1, 1}}, 2, {2, 16, 5, 4}, 32},
                             {{{3, 3}, {2, 2}, {1, 1}, {1, 1}}, 2, {1, 16, 6, 7}, 32},
                             {{{7, 7}, {2, 2}, {3, 3}, {1, 1}}, 1, {2, 3, 13, 12}, 16},
                             {{{3, 4}, {1, 2}, {1, 0}, {1, 2}}, 1, {2, 4, 9, 12}, 8}};

Source source_of(const Example& example) {
  return example.data[1] <= 4 ? Source::four : Source::channels;
}

TEST(Divider, DividesAsTheProcessorDoes) {
  for (const std::int32_t divisor : {1, 2, 3, 5, 7, 14, 28, 55, 56, 112, 127, 641, 65537, 0x7fffffff}) {
    const Divider by = divider_of(divisor);
    for (const std::int32_t n :
         {0, 1, 2, 6, 7, 55, 56, 57, 12543, 401407, 401408, 1 << 30, 0x7ffffffe, 0x7fffffff}) {
      EXPECT_EQ(divide(n, by), n / divisor) << n << " by " << divisor;
    }
    for (std::int64_t n = divisor; n < 0x7fffffff; n += n / 3 + 1) {
      const auto last = static_cast<std::int32_t>(n / divisor * divisor);
      EXPECT_EQ(divide(last, by), last / divisor);
      EXPECT_EQ(divide(last - 1, by), (last - 1) / divisor);
    }
  }
}

TEST(ConvPacking, PacksOnTheDeviceAsThePlanDoes) {
  for (const Example& example : kExamples) {
    const ConvShape shape = shape_of(example.window, example.groups, example.data, example.outputs);
    ASSERT_TRUE(ConvPlan::takes(shape, Math::f16, source_of(example)));
    const ConvPlan plan = ConvPlan::candidates(shape, Math::f16, source_of(example), kH200)[0];
    const ConvPackParams packing = plan.packing();
    const std::vector<float> weights = draw(std::int64_t{shape.outputs} * packing.row_step);
    std::vector<std::byte> packed(plan.packed_bytes());
    plan.pack(weights, packed);
    ASSERT_EQ(packed.size(), at(std::int64_t{packing.rows} * packing.groups * packing.row_length * 2));
    for (std::int32_t row = 0; row < packing.rows * packing.groups; ++row) {
      for (std::int32_t i = 0; i < packing.row_length; ++i) {
        std::uint16_t half = 0;
        std::memcpy(&half, &packed[at((std::int64_t{row} * packing.row_length + i) * 2)], sizeof half);
        const std::int64_t from = packed_from(packing, row, i);
        ASSERT_EQ(from < 0 ? 0 : weights[at(from)], from_half(half)) << row << " " << i;
      }
    }
  }
}

// What the tiles compute: a convolution of images in channels_last by packed weights.
std::vector<float> convolve(const ConvPlan& plan, const ConvPackParams& packing,
                            const std::vector<float>& weights, const std::vector<float>& src) {
  const ConvShape& shape = plan.shape;
  std::vector<float> dst(at(shape.pixels() * shape.outputs));
  const int channels = shape.channels / shape.groups, outputs = shape.outputs / shape.groups;
  for (std::int64_t pixel = 0; pixel < shape.pixels(); ++pixel) {
    const std::int64_t line = pixel / shape.result[1], image = line / shape.result[0];
    for (int output = 0; output < shape.outputs; ++output) {
      float sum = 0;
      for (int tap = 0; tap < shape.kernel[0] * shape.kernel[1]; ++tap) {
        const std::int64_t y = (line - image * shape.result[0]) * shape.stride[0] - shape.pad[0] +
                               tap / shape.kernel[1] * shape.dilation[0];
        const std::int64_t x = (pixel - line * shape.result[1]) * shape.stride[1] - shape.pad[1] +
                               tap % shape.kernel[1] * shape.dilation[1];
        if (y < 0 || y >= shape.size[0] || x < 0 || x >= shape.size[1]) continue;
        for (int c = 0; c < channels; ++c) {
          const std::int64_t from = packed_from(packing, output, tap * channels + c);
          sum += weights[at(from)] *
                 src[at(((image * shape.size[0] + y) * shape.size[1] + x) * shape.channels +
                        output / outputs * channels + c)];
        }
      }
      dst[at(pixel * shape.outputs + output)] = sum;
    }
  }
  return dst;
}

std::vector<float> expand(const ConvExpandParams& spread, const std::vector<float>& src) {
  std::vector<float> dst(
      at(std::int64_t{spread.images} * spread.height * spread.width * spread.channels));
  for (std::int64_t pixel = 0; pixel < std::int64_t{spread.images} * spread.height * spread.width;
       ++pixel) {
    const std::int64_t from = expanded_from(spread, pixel);
    for (int c = 0; c < spread.channels && from >= 0; ++c)
      dst[at(pixel * spread.channels + c)] = src[at(from * spread.channels + c)];
  }
  return dst;
}

TEST(DataGradient, IsAConvolutionByExchangedWeights) {
  for (const Example& example : kExamples) {
    const ConvShape shape = shape_of(example.window, example.groups, example.data, example.outputs);
    const DataGradient gradient(shape);
    if (!ConvPlan::takes(gradient.conv, Math::f16, Source::channels)) continue;
    const Shape result{shape.images, shape.outputs, shape.result[0], shape.result[1]};
    const Shape weight{shape.outputs, shape.channels / shape.groups, shape.kernel[0], shape.kernel[1]};
    const std::int64_t row = weight.count(1, 4), step = row + 5;  // a gap behind each output
    std::vector<float> dense = draw(weight.count()), weights(at(step * shape.outputs));
    for (std::int64_t o = 0; o < shape.outputs; ++o)
      std::copy_n(dense.begin() + o * row, row, weights.begin() + o * step);
    std::vector<float> from = draw(result.count()), expected(at(example.data.count()));
    const ConvGradData op{example.window, example.groups, {shape.size[0], shape.size[1]}};
    const TensorView src[] = {{f32(result), from.data()}, {f32(weight), dense.data()}};
    const TensorView dst[] = {{f32(example.data), expected.data()}};
    op.reference(src, dst);

    const ConvPlan plan = ConvPlan::candidates(gradient.conv, Math::f16, Source::channels, kH200)[0];
    ConvPackParams packing = plan.packing();
    gradient.exchange(packing, step);
    std::vector<float> pixels =
        channels_last(from, shape.images, shape.outputs, result[2] * result[3], shape.outputs);
    if (gradient.spreads_before) pixels = expand(gradient.spread(), pixels);
    std::vector<float> got = convolve(plan, packing, weights, pixels);
    if (gradient.spreads_after) got = expand(gradient.spread(), got);
    EXPECT_EQ(got, channels_last(expected, shape.images, shape.channels,
                                 example.data[2] * example.data[3], shape.channels))
        << op.window.kernel[0] << "x" << op.window.kernel[1] << " " << example.data.str();
  }
}

// What the blocks of a launch compute, chunk by chunk: the sums of the splits, then weights.
std::vector<float> weights_of(const ConvGradPlan& plan, const std::vector<float>& data, int stored,
                              const std::vector<float>& gradient) {
  const bool is_half = plan.math == Math::f16, is_pairs = is_half && plan.source == Source::four;
  const int lanes = is_half ? 8 : 4, kStep = conv_grad_step(is_half ? 2 : 4);
  const ConvShape& shape = plan.shape;
  const std::int64_t row =
      std::int64_t{shape.channels / shape.groups} * shape.kernel[0] * shape.kernel[1];
  const ConvGradParams p = plan.params(row);
  std::vector<float> result(at(row * shape.outputs));
  EXPECT_EQ(plan.grid()[0], static_cast<unsigned>(p.column_tiles * p.output_tiles * p.groups));
  EXPECT_GE(p.column_tiles * plan.tile.columns, p.columns.count);
  EXPECT_GE(p.output_tiles * plan.tile.outputs, p.outputs);
  for (int split = 0; split < plan.splits; ++split) {
    const int first = p.steps * split / plan.splits, end = p.steps * (split + 1) / plan.splits;
    for (int pixel = first * kStep; pixel < std::min(end * kStep, p.pixels); ++pixel) {
      const int line = divide(pixel, p.by_width), image = divide(line, p.by_height);
      for (int chunk = 0; chunk < p.column_chunks; ++chunk) {
        const int tap = chunk / p.tap_chunks, part = chunk - tap * p.tap_chunks;
        const int tap_y = is_pairs ? tap : tap / p.kernel_w;
        const int tap_x = is_pairs ? 2 * part : tap - tap_y * p.kernel_w;
        const int y = (line - image * p.result_height) * p.stride_h - p.pad_h + tap_y * p.dilation_h;
        for (int lane = 0; lane < lanes; ++lane) {
          const int x = (pixel - line * p.result_width) * p.stride_w - p.pad_w +
                        (tap_x + (is_pairs ? lane / 4 : 0)) * p.dilation_w;
          if (y < 0 || y >= p.height || x < 0 || x >= p.width) continue;
          for (int output = 0; output < shape.outputs; ++output) {
            const std::int64_t to = weight_of(p.columns, output, chunk * lanes + lane);
            if (to < 0) continue;
            const int channel =
                is_pairs ? lane % 4 : (output / p.outputs * p.group_chunks + part) * lanes + lane;
            result[at(to)] +=
                data[at(((std::int64_t{image} * p.height + y) * p.width + x) * stored + channel)] *
                gradient[at(std::int64_t{pixel} * shape.outputs + output)];
          }
        }
      }
    }
  }
  return result;
}

TEST(ConvGradPlan, SumsEveryProductForItsWeight) {
  for (const Example& example : kExamples) {
    const ConvShape shape = shape_of(example.window, example.groups, example.data, example.outputs);
    const Shape result{shape.images, shape.outputs, shape.result[0], shape.result[1]};
    const ConvGradWeight op{example.window, example.groups};
    std::vector<float> data = draw(example.data.count()), gradient = draw(result.count());
    std::vector<float> expected(at(std::int64_t{shape.outputs} * shape.channels / shape.groups *
                                   shape.kernel[0] * shape.kernel[1]));
    const TensorView src[] = {{f32(example.data), data.data()}, {f32(result), gradient.data()}};
    const Shape weight = op.infer(std::array{f32(example.data), f32(result)})[0].shape;
    const TensorView dst[] = {{f32(weight), expected.data()}};
    op.reference(src, dst);
    const int stored = source_of(example) == Source::four ? 4 : shape.channels;
    const std::vector<float> images =
        channels_last(data, shape.images, shape.channels, example.data[2] * example.data[3], stored);
    const std::vector<float> pixels =
        channels_last(gradient, shape.images, shape.outputs, result[2] * result[3], shape.outputs);
    for (const Math math : {Math::f16, Math::f32}) {
      ASSERT_TRUE(ConvGradPlan::takes(shape, math, source_of(example)));
      for (ConvGradPlan plan : ConvGradPlan::candidates(shape, math, source_of(example), kH200)) {
        for (const int splits : {1, 2, 3}) {
          plan.splits = splits;
          EXPECT_EQ(weights_of(plan, images, stored, pixels), expected)
              << plan.name() << " " << example.data.str();
        }
      }
    }
  }
}

TEST(ConvGradPlan, TakesWholeChunksOfBothOperands) {
  const auto takes = [](int channels, int outputs, int groups, Math math) {
    return ConvGradPlan::takes(shape_of({}, groups, {1, channels, 3, 3}, outputs), math,
                               Source::channels);
  };
  EXPECT_TRUE(takes(16, 8, 1, Math::f16));
  EXPECT_FALSE(takes(12, 8, 1, Math::f16));
  EXPECT_FALSE(takes(16, 12, 1, Math::f16));
  EXPECT_TRUE(takes(12, 4, 1, Math::f32));
  EXPECT_FALSE(takes(16, 8, 2, Math::f16));
  EXPECT_FALSE(takes(8, 8, 8, Math::f32));
}

TEST(ConvGradPlan, CandidatesFitTheDeviceAndFillIt) {
  const Window window{{3, 3}, {1, 1}, {1, 1}, {1, 1}};
  for (const ConvDevice& device : {kH200, kTuring}) {
    for (const Math math : {Math::f16, Math::f32}) {
      const auto plans = ConvGradPlan::candidates(shape_of(window, 1, {128, 96, 28, 28}, 128), math,
                                                  Source::channels, device);
      ASSERT_FALSE(plans.empty());
      for (const ConvGradPlan& plan : plans) EXPECT_LE(plan.shared_bytes(), device.shared_bytes);
      const auto grid = plans[0].grid();
      EXPECT_GE(static_cast<int>(grid[0] * grid[1]), device.multiprocessors / 2) << plans[0].name();
      EXPECT_LE(plans[0].workspace_bytes(), std::size_t{64} << 20);
    }
  }
  // Where weights are many there is one split, and no sums in memory.
  EXPECT_EQ(ConvGradPlan::candidates(shape_of({}, 1, {128, 25088, 1, 1}, 4096), Math::f16,
                                     Source::channels, kH200)[0]
                .workspace_bytes(),
            0u);
}

}  // namespace
}  // namespace maru::cuda
