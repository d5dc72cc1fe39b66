#include "train/loss_scale.h"

#include <gtest/gtest.h>

namespace maru {
namespace {

TEST(LossScale, HalvesAtOnceAndDoublesWithPatience) {
  LossScale scale;
  EXPECT_EQ(scale.scale, 65536);
  scale.count(false);
  scale.count(false);
  EXPECT_EQ(scale, (LossScale{16384, 0}));
  for (int i = 0; i < 1999; ++i) scale.count(true);
  EXPECT_EQ(scale, (LossScale{16384, 1999}));
  scale.count(true);
  EXPECT_EQ(scale, (LossScale{32768, 0}));
  for (int i = 0; i < 1999; ++i) scale.count(true);
  scale.count(false);  // they must be in a row
  scale.count(true);
  EXPECT_EQ(scale, (LossScale{16384, 1}));
}

TEST(LossScale, HasBounds) {
  LossScale scale{LossScale::kMost, LossScale::kPatience - 1};
  scale.count(true);
  EXPECT_EQ(scale, (LossScale{LossScale::kMost, 0}));
  for (int i = 0; i < 100; ++i) scale.count(false);
  EXPECT_EQ(scale.scale, LossScale::kLeast);
}

}  // namespace
}  // namespace maru
