#include "tensor/half.h"

#include <gtest/gtest.h>

#include <bit>
#include <cmath>
#include <limits>
#include <random>

namespace maru {
namespace {

bool is_nan(std::uint16_t half) { return (half & 0x7FFFU) > 0x7C00U; }

TEST(Half, KnowsItsLandmarks) {
  EXPECT_EQ(to_half(0.0F), 0x0000U);
  EXPECT_EQ(to_half(-0.0F), 0x8000U);
  EXPECT_EQ(to_half(1.0F), 0x3C00U);
  EXPECT_EQ(to_half(-2.0F), 0xC000U);
  EXPECT_EQ(to_half(65504.0F), 0x7BFFU);         // the largest
  EXPECT_EQ(to_half(0x1p-14F), 0x0400U);         // the least normal one
  EXPECT_EQ(to_half(0x1p-24F), 0x0001U);         // the least
  EXPECT_EQ(to_half(1023 * 0x1p-24F), 0x03FFU);  // the largest denormal
  EXPECT_EQ(from_half(0x3555U), 0x1.554p-2F);    // a third
  EXPECT_EQ(std::signbit(from_half(0x8000U)), true);
}

TEST(Half, GivesInfinitiesBeyondItsRange) {
  constexpr float kInfinity = std::numeric_limits<float>::infinity();
  EXPECT_EQ(to_half(std::nextafter(65520.0F, 0.0F)), 0x7BFFU);
  EXPECT_EQ(to_half(65520.0F), 0x7C00U);
  EXPECT_EQ(to_half(-1e30F), 0xFC00U);
  EXPECT_EQ(to_half(kInfinity), 0x7C00U);
  EXPECT_EQ(to_half(-kInfinity), 0xFC00U);
  EXPECT_EQ(from_half(0x7C00U), kInfinity);
  EXPECT_EQ(from_half(0xFC00U), -kInfinity);
}

TEST(Half, KeepsWhatIsNoNumber) {
  EXPECT_TRUE(is_nan(to_half(std::numeric_limits<float>::quiet_NaN())));
  EXPECT_TRUE(is_nan(to_half(std::bit_cast<float>(0x7F800001U))));  // its payload does not fit
  EXPECT_TRUE(std::isnan(from_half(0x7E00U)));
  EXPECT_TRUE(std::isnan(from_half(0xFC01U)));
}

TEST(Half, RoundsTiesToEven) {
  EXPECT_EQ(to_half(1 + 0x1p-11F), 0x3C00U);
  EXPECT_EQ(to_half(1 + 0x3p-11F), 0x3C02U);
  EXPECT_EQ(to_half(1 + 0x1.002p-11F), 0x3C01U);
  EXPECT_EQ(to_half(2 - 0x1p-11F), 0x4000U);  // carries into the exponent
  EXPECT_EQ(to_half(0x1p-25F), 0x0000U);      // half of the least
  EXPECT_EQ(to_half(0x1.8p-24F), 0x0002U);
  EXPECT_EQ(to_half(std::nextafter(0x1p-25F, 1.0F)), 0x0001U);
  EXPECT_EQ(to_half(0x1p-26F), 0x0000U);
  EXPECT_EQ(to_half(std::numeric_limits<float>::denorm_min()), 0x0000U);
}

TEST(Half, ComesBackAsItWas) {
  for (std::uint32_t bits = 0; bits <= 0xFFFFU; ++bits) {
    const auto half = static_cast<std::uint16_t>(bits);
    if (is_nan(half)) continue;
    ASSERT_EQ(to_half(from_half(half)), half) << bits;
  }
}

TEST(Half, IsNearerThanItsNeighbours) {
  std::mt19937 random(1);
  for (int i = 0; i < 200000; ++i) {
    const auto value = std::bit_cast<float>(static_cast<std::uint32_t>(random()));
    if (!(std::fabs(value) < 65504)) continue;
    const std::uint16_t half = to_half(value);
    const double distance = std::fabs(double{from_half(half)} - double{value});
    const auto other = [&](int step) {
      return std::fabs(double{from_half(static_cast<std::uint16_t>(half + step))} - double{value});
    };
    ASSERT_TRUE((half & 0x7FFFU) >= 0x7BFFU || distance <= other(1)) << value;
    ASSERT_TRUE((half & 0x7FFFU) == 0 || distance <= other(-1)) << value;
  }
}

TEST(Half, ConvertsSpans) {
  const float values[] = {1, -2, 65504};
  std::uint16_t halves[3];
  to_halves(values, halves);
  EXPECT_EQ(halves[1], 0xC000U);
  EXPECT_EQ(rounded_to_half(1 + 0x1p-12F), 1.0F);
}

}  // namespace
}  // namespace maru
