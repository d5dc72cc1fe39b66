#include "apps/cli/train_words.h"

#include <gtest/gtest.h>

#include "apps/cli/command_line.h"

namespace maru::cli {
namespace {

TEST(TrainWords, LengthsOfTime) {
  EXPECT_EQ(duration_of("-t", "9m"), 540);
  EXPECT_EQ(duration_of("-t", "90s"), 90);
  EXPECT_EQ(duration_of("-t", "1.5"), 1.5);
  EXPECT_EQ(duration_of("-t", "1h30m"), 5400);
  EXPECT_EQ(duration_of("-t", "1h2m3s"), 3723);
  for (const char* wrong : {"", "m", "9d", "9mm", "30m1h", "soon", "-3s", "1m 2s", "1..5s"})
    EXPECT_THROW(duration_of("-t", wrong), UsageError) << wrong;
  EXPECT_EQ(duration_text(8.24), "8.2 s");
  EXPECT_EQ(duration_text(250), "4 min 10 s");
  EXPECT_EQ(duration_text(11520.4), "3 h 12 min");
}

Augment augmented(std::string_view words) {
  Augment augment;
  augment.crop = 224;
  augment.new_height = augment.new_width = 256;
  apply_augment("--augment", words, augment);
  return augment;
}

TEST(TrainWords, Augmentation) {
  EXPECT_EQ(augmented("").crop, 224);
  EXPECT_TRUE(augmented("mirror").mirror);
  EXPECT_FALSE(augmented("mirror,no-mirror").mirror);
  const Augment area = augmented("area=0.08:0.9,ratio=1.5,brightness=0.1,contrast=0.2,saturation=0.3");
  EXPECT_EQ(area.crop, 0) << "one way to take a part";
  EXPECT_EQ(area.area_low, 0.08);
  EXPECT_EQ(area.area_high, 0.9);
  EXPECT_EQ(area.ratio, 1.5);
  EXPECT_EQ(area.brightness, 0.1);
  EXPECT_EQ(area.contrast, 0.2);
  EXPECT_EQ(area.saturation, 0.3);
  EXPECT_EQ(augmented("area=0.5").area_high, 1);
  EXPECT_EQ(augmented("centre=0.875").centre, 0.875);
  EXPECT_EQ(augmented("whole").crop, 0);
  EXPECT_EQ(augmented("crop=200").crop, 200);
  EXPECT_EQ(augmented("resize=300x400").new_width, 400);
  EXPECT_EQ(augmented("resize=300").new_width, 300);
  for (const char* wrong :
       {"miror", "area", "area=x", "mirror=1", "ratio=", "area=0.1:x", "brightness=nan"})
    EXPECT_THROW(augmented(wrong), UsageError) << wrong;
}

}  // namespace
}  // namespace maru::cli
