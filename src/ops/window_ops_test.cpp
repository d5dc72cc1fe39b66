// Operators of windows: pooling, LRN and convolution; shapes, values, what they reject, Caffe's
// spelling.
#include <gtest/gtest.h>

#include <cmath>

#include "ops/conv.h"
#include "ops/lrn.h"
#include "ops/pool.h"
#include "ops/test_attributes.h"
#include "ops/test_operands.h"

namespace maru {
namespace {

using namespace testing_ops;

constexpr auto kMax = Pool::Kind::max;
constexpr auto kAverage = Pool::Kind::average;

TEST(Pool, ExtentsAreCaffes) {
  struct Row {
    std::int64_t in;
    Window window;
    bool ceil;
    std::int64_t out;
  };
  const Row rows[] = {
      {224, square(2, 2), true, 112},
      {112, square(3, 2), true, 56},  // GoogLeNet pool1: 55.5 + 1
      {224, square(3, 2), true, 112},
      {224, square(3, 2), false, 111},
      {55, square(3, 2), true, 27},      // AlexNet
      {112, square(3, 2, 1), true, 57},  // ResNet in Caffe: begins at 111, still in the input
      {112, square(3, 2, 1), false, 56},
      {5, square(2, 2, 1), true, 3},  // ceil gives 4, whose last begins at 6 = in + pad: clipped
      {4, square(2, 3, 1), true, 2},
      {2, square(3, 2), true, 1},  // kernel larger than the input by less than a stride
      {1, square(1, 1), true, 1},
  };
  for (const Row& row : rows) {
    const Shape got = shape_of(Pool{kMax, row.window, false, row.ceil}, {{1, 3, row.in, row.in}});
    EXPECT_EQ(got, Shape({1, 3, row.out, row.out})) << row.in << " " << print_fields(row.window);
  }
  // Padding on one axis clips on both, as in Caffe.
  EXPECT_EQ(shape_of(Pool{kMax, {{1, 2}, {3, 2}, {0, 1}, {1, 1}}}, {{1, 1, 5, 5}}),
            Shape({1, 1, 2, 3}));
}

TEST(Pool, GlobalTakesTheWholeImage) {
  const Pool pool{kAverage, {}, true};
  EXPECT_EQ(shape_of(pool, {{2, 1024, 7, 7}}), Shape({2, 1024, 1, 1}));
  EXPECT_EQ(pool.window_for(f32({2, 3, 7, 5})), (Window{{7, 5}, {1, 1}, {0, 0}, {1, 1}}));
  expect_values(pool, {data({1, 2, 2, 3})}, {3.5, 9.5});
}

TEST(Pool, OverhangingWindows) {
  // 1 2 3 4 / 5 .. 8 / 9 .. 12 / 13 .. 16, windows of 3 with stride 2: the second hangs over by one.
  const Pool pool{kAverage, square(3, 2)};
  expect_values(pool, {data({1, 1, 4, 4})}, {6, 7.5, 12, 13.5});
  expect_values(Pool{kMax, square(3, 2)}, {data({1, 1, 4, 4})}, {11, 12, 15, 16});
}

TEST(Pool, DivisorCountsPaddingButNotOverhang) {
  // 2x2 of 1 2 / 3 4, windows of 3 with pad 1 and stride 2: rows -1..1 and 1..2, the latter clipped
  // at 3.
  const Data image = data({1, 1, 2, 2});
  expect_values(Pool{kAverage, square(3, 2, 1)}, {image}, {10.0 / 9, 6.0 / 6, 7.0 / 6, 4.0 / 4});
  expect_values(Pool{kAverage, square(3, 2, 1), false, true, Pool::Divisor::valid}, {image},
                {2.5, 3, 3.5, 4});
  expect_values(Pool{kMax, square(3, 2, 1)}, {data({1, 1, 2, 2}, {-1, -2, -3, -4})}, {-1, -2, -3, -4});
}

TEST(Pool, Rejects) {
  const Shape image{1, 3, 5, 5};
  constexpr std::int64_t kHuge = std::int64_t{1} << 62;
  expect_rejected(Pool{}, {{3, 5, 5}}, "4 axes");
  expect_rejected(Pool{}, {image, image}, "1 inputs");
  expect_rejected(Pool{kMax, square(0, 1)}, {image}, "1 or more");
  expect_rejected(Pool{kMax, square(2, 0)}, {image}, "1 or more");
  expect_rejected(Pool{kMax, square(2, 1, -1)}, {image}, "0 or more");
  expect_rejected(Pool{kMax, square(3, 1, kHuge)}, {image}, "2^24");
  expect_rejected(Pool{kMax, square(kHuge, 1, 0)}, {image}, "2^24");
  expect_rejected(Pool{kMax, square(2, 1, 2)}, {image}, "pad below the kernel");
  expect_rejected(Pool{kMax, square(7, 2)}, {image}, "within the padded input");
  expect_rejected(Pool{kMax, square(6, 2), false, false}, {image}, "within the padded input");
  expect_rejected(Pool{kMax, square(1, 2)}, {{1, 3, 4, 4}}, "begin in the input");
  expect_rejected(Pool{kMax, {{3, 3}, {1, 1}, {0, 0}, {2, 2}}}, {image}, "dilation");
  expect_rejected(Pool{kMax, {{1, 1}, {2, 2}, {0, 0}, {1, 1}}, true}, {image}, "global");
  expect_rejected(Pool{kMax, {}, true}, {{1, 3, 0, 5}});
}

TEST(Pool, CaffeSpelling) {
  EXPECT_EQ(parsed("Pooling", {{"kernel_size", {"3"}}, {"stride", {"2"}}}),
            "pool kernel=3x3 stride=2x2");
  EXPECT_EQ(parsed("Pooling", {{"pool", {"AVE"}}, {"global_pooling", {"true"}}}),
            "pool kind=average global=yes");
  EXPECT_EQ(parsed("Pooling", {{"kernel_h", {"1"}}, {"kernel_w", {"7"}}, {"round_mode", {"FLOOR"}}}),
            "pool kernel=1x7 ceil=no");
  EXPECT_THROW(parsed("Pooling", {{"pool", {"STOCHASTIC"}}, {"kernel_size", {"3"}}}), Error);
  EXPECT_THROW(parsed("Pooling", {{"pool", {"MAX"}}}), Error);
  EXPECT_THROW(parsed("Pooling", {{"kernel_size", {"3"}}, {"kernel_h", {"3"}}}), Error);
  EXPECT_THROW(parsed("Pooling", {{"kernel_size", {"3"}}, {"global_pooling", {"true"}}}), Error);
  EXPECT_THROW(parsed("Pooling", {{"kernel_size", {"3"}}}, {1, 2}), Error);
}

TEST(Lrn, AcrossChannels) {
  // Squares 1 4 9 16; sums over 3 channels 5 14 29 25.
  const auto at = [](double x, double sum) { return x / std::pow(2 + 0.6 / 3 * sum, 0.75); };
  expect_values(Lrn{3, 0.6, 0.75, 2}, {data({1, 4, 1, 1})},
                {at(1, 5), at(2, 14), at(3, 29), at(4, 25)});
}

TEST(Lrn, WithinAChannel) {
  // Every 3x3 neighbourhood of a 2x2 image is the whole image; the divisor stays 9 and k is not used.
  const double base = std::pow(1 + 0.9 / 9 * 30, -0.5);
  expect_values(Lrn{3, 0.9, 0.5, 7, Lrn::Region::within}, {data({1, 1, 2, 2})},
                {base, 2 * base, 3 * base, 4 * base});
}

TEST(Lrn, RejectsAndSpells) {
  expect_rejected(Lrn{4}, {{1, 3, 2, 2}}, "odd");
  expect_rejected(Lrn{0}, {{1, 3, 2, 2}}, "odd");
  expect_rejected(Lrn{INT64_MAX}, {{1, 3, 2, 2}}, "odd");
  expect_rejected(Lrn{}, {{3, 2, 2}}, "4 axes");
  EXPECT_EQ(parsed("LRN", {{"alpha", {"0.0001"}}}), "lrn alpha=0.0001");
  EXPECT_EQ(parsed("LRN", {{"norm_region", {"WITHIN_CHANNEL"}}, {"local_size", {"3"}}, {"k", {"2"}}}),
            "lrn size=3 region=within");
  EXPECT_THROW(parsed("LRN", {{"norm_region", {"1"}}}), Error);
}

TEST(Conv, ChecksItsParameters) {
  const Conv conv{4, square(3, 1, 1)};
  EXPECT_EQ(shape_of(conv, {{1, 2, 5, 5}, {4, 2, 3, 3}, {4}}), Shape({1, 4, 5, 5}));
  expect_rejected(conv, {{1, 2, 5, 5}, {4, 2, 3, 2}, {4}}, "weight of 4x2x3x3");
  expect_rejected(Conv{4, square(1, 1), 0}, {{1, 2, 5, 5}, {4, 2, 1, 1}, {4}}, "groups");
  expect_rejected(Conv{4, square(1, 0)}, {{1, 2, 5, 5}, {4, 2, 1, 1}, {4}}, "stride");
  expect_rejected(Conv{4, square(7, 1)}, {{1, 2, 5, 5}, {4, 2, 7, 7}, {4}}, "padded input");
}

}  // namespace
}  // namespace maru
