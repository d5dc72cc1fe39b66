#include <gtest/gtest.h>

#include "base/error.h"
#include "tensor/tensor_desc.h"

namespace maru {
namespace {

TEST(Shape, KnowsItsExtents) {
  const Shape shape{2, 3, 4};
  EXPECT_EQ(shape.rank(), 3u);
  EXPECT_EQ(shape.count(), 24);
  EXPECT_EQ(shape.count(1, 3), 12);
  EXPECT_EQ(shape.str(), "2x3x4");
  EXPECT_EQ(Shape().str(), "scalar");
  EXPECT_EQ(Shape().count(), 1);
  EXPECT_EQ(shape.with(1, 7), (Shape{2, 7, 4}));
  EXPECT_EQ(shape.axis(-1), 2u);
  EXPECT_EQ(shape.axis(3, 4), 3u);
  EXPECT_NE(shape, (Shape{2, 3}));
}

TEST(Shape, RefusesWhatNoTensorHas) {
  EXPECT_THROW((Shape{1, -1}), Error);
  EXPECT_THROW((Shape{1, 1, 1, 1, 1, 1, 1, 1, 1}), Error);
  EXPECT_THROW((Shape{std::int64_t{1} << 40, std::int64_t{1} << 40}), Error);
  EXPECT_THROW((Shape{0, std::int64_t{1} << 40, std::int64_t{1} << 40}), Error);
  EXPECT_THROW((Shape{2, 3}.axis(2)), Error);
  EXPECT_THROW((Shape{2, 3}.axis(-3)), Error);
}

TEST(TensorDesc, CountsBytesWithPaddingAndWindows) {
  const Shape shape{2, 24, 5, 5};
  const auto bytes = [&](Layout layout) { return TensorDesc{DType::f32, shape, layout}.bytes(); };
  EXPECT_EQ(bytes(Layout::plain()), 2u * 24 * 25 * 4);
  EXPECT_EQ(bytes(Layout::channels_last()), 2u * 24 * 25 * 4);
  EXPECT_EQ(bytes(Layout::blocked(16)), 2u * 32 * 25 * 4);
  EXPECT_EQ(bytes(Layout::blocked(8)), 2u * 24 * 25 * 4);
  // From the first element of image 0 to the last of image 1, whose neighbours do not count.
  EXPECT_EQ(bytes(Layout::blocked(8).window_of(64)), (64u + 24) * 25 * 4);
  EXPECT_EQ(bytes(Layout::channels_last().window_of(64)), (64u * 25 + 24 * 64 + 24) * 4);
  EXPECT_EQ((TensorDesc{DType::u8, {3, 0}, Layout::plain()}.bytes()), 0u);
  EXPECT_EQ((TensorDesc{DType::f16, {7}, Layout::plain()}.bytes()), 14u);
}

TEST(TensorDesc, PrintsWhatItIs) {
  EXPECT_EQ((TensorDesc{DType::f32, {1, 64, 2, 2}, Layout::blocked(16).window_of(256)}.str()),
            "f32 1x64x2x2 nChw16c[256]");
}

TEST(SameBytes, SeesThroughNames) {
  const Shape image{1, 32, 4, 4}, pixel{2, 32, 1, 1}, odd_pixel{2, 20, 1, 1}, matrix{2, 32};
  EXPECT_FALSE(same_bytes(image, Layout::plain(), Layout::blocked(16)));
  EXPECT_FALSE(same_bytes(image, Layout::plain(), Layout::channels_last()));
  EXPECT_TRUE(same_bytes(pixel, Layout::plain(), Layout::blocked(16)));
  EXPECT_TRUE(same_bytes(pixel, Layout::blocked(16), Layout::blocked(8)));
  EXPECT_TRUE(same_bytes(pixel, Layout::plain(), Layout::channels_last()));
  EXPECT_FALSE(same_bytes(odd_pixel, Layout::plain(), Layout::blocked(16)));  // padded
  EXPECT_TRUE(same_bytes(matrix, Layout::plain(), Layout::blocked(16)));
  // One channel's pixels lie side by side in both, but not in a window of three channels.
  EXPECT_FALSE(same_bytes({2, 1, 4, 4}, Layout::plain(), Layout::channels_last()));
  EXPECT_FALSE(same_bytes(pixel, Layout::plain(), Layout::any()));
  EXPECT_FALSE(same_bytes(pixel, Layout::plain().window_of(64), Layout::blocked(16)));
}

}  // namespace
}  // namespace maru
