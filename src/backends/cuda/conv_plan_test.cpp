#include "backends/cuda/conv_plan.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cstring>
#include <numeric>

#include "tensor/half.h"

namespace maru::cuda {
namespace {

using Math = ConvPlan::Math;
using Source = ConvPlan::Source;

constexpr ConvDevice kH200{90, 132, 227 << 10}, kTuring{75, 40, 64 << 10};

ConvShape shape_of(int channels, int outputs, int kernel, int size) {
  ConvShape shape;
  shape.channels = channels;
  shape.outputs = outputs;
  shape.kernel = {kernel, kernel};
  shape.pad = {kernel / 2, kernel / 2};
  shape.size = shape.result = {size, size};
  return shape;
}

std::vector<float> packed_floats(const ConvPlan& plan, const std::vector<float>& weights) {
  std::vector<std::byte> bytes(plan.packed_bytes());
  plan.pack(weights, bytes);
  std::vector<float> values;
  const std::size_t size = plan.math == Math::f16 ? 2 : 4;
  for (std::size_t i = 0; i < bytes.size(); i += size) {
    std::uint16_t half = 0;
    float value = 0;
    if (size == 2) {
      std::memcpy(&half, &bytes[i], size);
      value = from_half(half);
    } else {
      std::memcpy(&value, &bytes[i], size);
    }
    values.push_back(value);
  }
  return values;
}

TEST(ConvPlan, WeightsGoTapByTapWithChannelsInside) {
  const ConvPlan plan =
      ConvPlan::candidates(shape_of(8, 2, 3, 9), Math::f16, Source::channels, kH200)[0];
  std::vector<float> weights(2 * 8 * 9);
  std::iota(weights.begin(), weights.end(), 1.0f);
  const std::vector<float> packed = packed_floats(plan, weights);
  ASSERT_EQ(packed.size(), 2u * 128);  // 9 chunks of a row, filled up to 16
  EXPECT_EQ(packed[0], 1);             // tap 0 of channels 0 and 1
  EXPECT_EQ(packed[1], 10);
  EXPECT_EQ(packed[8], 2);  // tap 1
  EXPECT_EQ(packed[72], 0);
  EXPECT_EQ(packed[128], 73);  // the second output
}

TEST(ConvPlan, PixelsOfFourChannelsGoByPairs) {
  const ConvPlan plan = ConvPlan::candidates(shape_of(3, 1, 3, 9), Math::f16, Source::four, kH200)[0];
  std::vector<float> weights(3 * 9);
  std::iota(weights.begin(), weights.end(), 1.0f);
  const std::vector<float> packed = packed_floats(plan, weights);
  EXPECT_EQ(packed[1], 10);  // channel 1 of tap 0
  EXPECT_EQ(packed[3], 0);   // there is no fourth
  EXPECT_EQ(packed[4], 2);   // tap 1
  EXPECT_EQ(packed[12], 0);  // a row of 3 taps is 2 pairs
  EXPECT_EQ(packed[16], 4);  // the second row
}

TEST(ConvPlan, Tf32RoundsWeights) {
  const ConvPlan plan =
      ConvPlan::candidates(shape_of(4, 1, 1, 9), Math::tf32, Source::channels, kH200)[0];
  const float fine = 1 + 0x1p-12f, coarse = 1 + 0x1p-10f;
  EXPECT_EQ(packed_floats(plan, {fine, coarse, -coarse - 0x1p-11f, 0})[0], 1);
  EXPECT_EQ(packed_floats(plan, {fine, coarse, -coarse - 0x1p-11f, 0})[1], coarse);
  EXPECT_EQ(packed_floats(plan, {fine, coarse, -coarse - 0x1p-11f, 0})[2], -1 - 0x1p-9f);
}

TEST(ConvPlan, TakesWholeChunksOfEveryGroup) {
  EXPECT_TRUE(ConvPlan::takes(shape_of(24, 7, 5, 9), Math::f16, Source::channels));
  EXPECT_FALSE(ConvPlan::takes(shape_of(20, 7, 5, 9), Math::f16, Source::channels));
  EXPECT_TRUE(ConvPlan::takes(shape_of(20, 7, 5, 9), Math::f32, Source::channels));
  EXPECT_FALSE(ConvPlan::takes(shape_of(24, 7, 16, 30), Math::f16, Source::channels));
  ConvShape grouped = shape_of(24, 6, 3, 9);
  grouped.groups = 2;
  EXPECT_FALSE(ConvPlan::takes(grouped, Math::f16, Source::channels));
  EXPECT_TRUE(ConvPlan::takes(grouped, Math::f32, Source::channels));
}

TEST(ConvPlan, CandidatesFitTheDeviceAndPackAlike) {
  for (const ConvDevice& device : {kH200, kTuring}) {
    const auto plans =
        ConvPlan::candidates(shape_of(832, 624, 1, 7), Math::f16, Source::channels, device);
    ASSERT_FALSE(plans.empty());
    bool has_splits = false;
    for (const ConvPlan& plan : plans) {
      EXPECT_LE(plan.shared_bytes(), device.shared_bytes) << plan.name();
      EXPECT_EQ(plan.form(), plans[0].form());
      EXPECT_EQ(plan.packed_bytes(), plans[0].packed_bytes());
      // Splits meet in a cluster where there are clusters, in memory elsewhere.
      EXPECT_EQ(plan.cluster() > 1, plan.splits > 1 && device.capability >= 90);
      EXPECT_EQ(plan.workspace_bytes() > 0, plan.splits > 1 && device.capability < 90);
      has_splits |= plan.splits > 1;
    }
    EXPECT_TRUE(has_splits);
  }
}

}  // namespace
}  // namespace maru::cuda
