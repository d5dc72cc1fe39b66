#include "data/augment.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <map>
#include <set>

#include "data/draws.h"
#include "data/test_files.h"

namespace maru {
namespace {

using data::testing_files::error_of;
using data::testing_files::level;
using data::testing_files::says;

struct Picture {
  int width, height;
  std::vector<std::uint8_t> bytes;

  Picture(int w, int h) : width(w), height(h), bytes(static_cast<std::size_t>(w * h * 3)) {
    for (int y = 0; y < h; ++y) {
      for (int x = 0; x < w; ++x) {
        for (int c = 0; c < 3; ++c) at(x, y)[c] = level(1, x, y, c);
      }
    }
  }
  std::uint8_t* at(int x, int y) { return bytes.data() + (y * width + x) * 3; }
  PixelView view() { return {bytes.data(), width, height, static_cast<std::size_t>(width) * 3}; }
};

Picture augmented(const Augmented& how, Picture& src) {
  Picture dst(how.out_width, how.out_height);
  AugmentScratch scratch;
  augment_photo(how, src.view(), dst.view(), scratch);
  return dst;
}

// ---- random numbers

TEST(Draws, AreEvenAndFollowFromAllThatTheyAreGiven) {
  std::map<std::int64_t, int> counts;
  double sum = 0;
  for (std::uint64_t position = 0; position < 3000; ++position) {
    Draws draws(1, position, Draws::Purpose::augment);
    for (int i = 0; i < 10; ++i) {
      sum += draws.uniform();
      ++counts[draws.below(5)];
    }
  }
  // 30,000 draws: five standard deviations of their mean, and of a count.
  EXPECT_NEAR(sum / 30000, 0.5, 5 * std::sqrt(1.0 / 12 / 30000));
  ASSERT_EQ(counts.size(), 5U);
  for (const auto& [value, count] : counts) EXPECT_NEAR(count, 6000, 5 * std::sqrt(30000 * 0.2 * 0.8));

  const auto first = [](std::uint64_t seed, std::uint64_t position, Draws::Purpose purpose) {
    return Draws(seed, position, purpose).below(std::int64_t{1} << 62);
  };
  const std::set<std::int64_t> different{first(1, 2, Draws::Purpose::augment),
                                         first(2, 2, Draws::Purpose::augment),
                                         first(1, 3, Draws::Purpose::augment),
                                         first(1, std::uint64_t{2} << 32, Draws::Purpose::augment),
                                         first(std::uint64_t{1} << 32, 2, Draws::Purpose::augment),
                                         first(1, 2, Draws::Purpose::stand_in)};
  EXPECT_EQ(different.size(), 6U);
  EXPECT_EQ(first(1, 2, Draws::Purpose::augment), first(1, 2, Draws::Purpose::augment));
}

TEST(Shuffled, IsAPermutationOfEachEpoch) {
  for (const std::int64_t n : {1, 2, 3, 7, 256, 257, 1000, 5003}) {
    std::vector<bool> seen(static_cast<std::size_t>(n));
    for (std::int64_t k = 0; k < n; ++k) {
      const std::int64_t place = shuffled(k, n, 42, 3);
      ASSERT_GE(place, 0);
      ASSERT_LT(place, n);
      ASSERT_FALSE(seen[static_cast<std::size_t>(place)]) << n << ": " << place << " twice";
      seen[static_cast<std::size_t>(place)] = true;
    }
  }
}

TEST(Shuffled, OrdersOfThreeAreAllAsLikely) {
  std::map<std::vector<std::int64_t>, int> counts;
  for (std::uint64_t epoch = 0; epoch < 6000; ++epoch) {
    ++counts[{shuffled(0, 3, 5, epoch), shuffled(1, 3, 5, epoch), shuffled(2, 3, 5, epoch)}];
  }
  ASSERT_EQ(counts.size(), 6U);
  for (const auto& [order, count] : counts) EXPECT_NEAR(count, 1000, 5 * std::sqrt(6000.0 * 5 / 36));
}

TEST(Shuffled, NeighboursPartAndEpochsDiffer) {
  // Of a random order's neighbours, 2 in 1000 were neighbours; of 999 pairs, 2, Poisson: under 15.
  int neighbours = 0, same = 0;
  for (std::int64_t k = 0; k < 999; ++k) {
    neighbours += std::abs(shuffled(k, 1000, 1, 0) - shuffled(k + 1, 1000, 1, 0)) == 1 ? 1 : 0;
    same += shuffled(k, 1000, 1, 0) == shuffled(k, 1000, 1, 1) ? 1 : 0;
  }
  EXPECT_LT(neighbours, 15);
  EXPECT_LT(same, 15);
}

// ---- which part

TEST(Augment, RandomPartsStayInsideAndInRange) {
  const Augment augment{.height = 32, .width = 32, .mirror = true, .area_low = 0.08, .area_high = 1};
  bool left = false, right = false, mirrored = false, straight = false;
  double smallest = 1, largest = 0;
  for (std::uint64_t position = 0; position < 2000; ++position) {
    const Augmented how = draw_augmented(augment, 60, 80, 7, position);
    const CropRect& part = how.part;
    ASSERT_GE(part.x, 0);
    ASSERT_GE(part.y, 0);
    ASSERT_GE(part.width, 1);
    ASSERT_GE(part.height, 1);
    ASSERT_LE(part.x + part.width, 80);
    ASSERT_LE(part.y + part.height, 60);
    const double area = part.width * part.height / 4800.0;
    smallest = std::min(smallest, area);
    largest = std::max(largest, area);
    // Sides are rounded by half a pixel each: of at least 17 pixels, 1/34 each.
    const double ratio = static_cast<double>(part.width) / part.height;
    ASSERT_GT(ratio, 3.0 / 4 * 0.94);
    ASSERT_LT(ratio, 4.0 / 3 * 1.06);
    left = left || part.x == 0;
    right = right || part.x + part.width == 80;
    (how.mirror ? mirrored : straight) = true;
    const bool larger = part.width * part.height > 32 * 32;
    ASSERT_EQ(how.out_width, larger ? 32 : part.width);
    ASSERT_EQ(how.out_height, larger ? 32 : part.height);
  }
  EXPECT_TRUE(left && right && mirrored && straight);
  EXPECT_GT(smallest, 0.07);
  EXPECT_LT(smallest, 0.1);
  EXPECT_GT(largest, 0.9);
}

TEST(Augment, PartsOfANarrowPhotoAreAsWideAsAllowed) {
  const Augment augment{.height = 8, .width = 8, .area_low = 0.9, .area_high = 1};
  for (std::uint64_t position = 0; position < 50; ++position) {
    const CropRect part = draw_augmented(augment, 10, 1000, 7, position).part;
    EXPECT_EQ(part.height, 10);
    EXPECT_EQ(part.width, 13);
    EXPECT_EQ(part.x, (1000 - 13) / 2);
  }
}

TEST(Augment, CaffesCropIsEverywhereAsLikelyOrInTheCentre) {
  Augment augment{.height = 4, .width = 4, .crop = 4, .random = true};
  std::map<std::pair<int, int>, int> counts;
  for (std::uint64_t position = 0; position < 6000; ++position) {
    const CropRect part = draw_augmented(augment, 5, 6, 3, position).part;
    EXPECT_EQ(part.width, 4);
    EXPECT_EQ(part.height, 4);
    ++counts[{part.x, part.y}];
  }
  ASSERT_EQ(counts.size(), 6U);
  for (const auto& [place, count] : counts) EXPECT_NEAR(count, 1000, 5 * std::sqrt(6000.0 * 5 / 36));
  augment.random = false;
  const CropRect part = draw_augmented(augment, 7, 9, 3, 0).part;
  EXPECT_EQ(part.x, 2);  // (9 - 4) / 2, as DataTransformer rounds
  EXPECT_EQ(part.y, 1);
  EXPECT_EQ(
      error_of([&] { draw_augmented(augment, 3, 9, 3, 0); }),
      "[augmentation] expected a photo of 4 x 4 pixels or more, to crop, got 9 x 3; try new_height and "
      "new_width, which resize it first");
}

TEST(Augment, TheCentreHasTheInputsAspectRatio) {
  const Augment augment{.height = 224, .width = 224, .centre = 0.875};
  const Augmented how = draw_augmented(augment, 256, 400, 1, 0);
  EXPECT_EQ(how.part.width, 224);
  EXPECT_EQ(how.part.height, 224);
  EXPECT_EQ(how.part.x, 88);
  EXPECT_EQ(how.part.y, 16);
  EXPECT_FALSE(how.resizes_part());
}

TEST(Augment, ContradictionsAreErrors) {
  const auto error = [](const Augment& augment) { return error_of([&] { require_valid(augment); }); };
  EXPECT_EQ(error({.height = 1, .width = 1}), "no error");
  EXPECT_TRUE(
      says(error({.height = 0, .width = 1}), "[augmentation: height] expected 1 to 32768 pixels"));
  EXPECT_TRUE(says(error({.height = 1, .width = 1, .new_height = 5}), "new_width"));
  EXPECT_TRUE(
      says(error({.height = 1, .width = 1, .new_height = 5, .new_width = 5, .crop = 6}), "crop"));
  EXPECT_TRUE(says(error({.height = 1, .width = 1, .crop = 1, .centre = 0.5}), "one of crop"));
  EXPECT_TRUE(says(error({.height = 1, .width = 1, .area_low = 0.5, .area_high = 0.4}), "area_low"));
  EXPECT_TRUE(says(error({.height = 1, .width = 1, .area_high = 1}), "area_low"));
  EXPECT_TRUE(says(error({.height = 1, .width = 1, .ratio = 0.5}), "ratio"));
  EXPECT_TRUE(says(error({.height = 1, .width = 1, .contrast = -1}), "contrast"));
  EXPECT_TRUE(says(error({.height = 1, .width = 1, .saturation = std::nan("")}), "saturation"));
}

// ---- what becomes of the pixels

TEST(Augment, PartsAreCopiedAndMirrored) {
  Picture src(9, 7);
  Augmented how;
  how.resized_width = 9;
  how.resized_height = 7;
  how.part = {2, 1, 5, 4};
  how.out_width = 5;
  how.out_height = 4;
  Picture plain = augmented(how, src);
  how.mirror = true;
  Picture mirrored = augmented(how, src);
  for (int y = 0; y < 4; ++y) {
    for (int x = 0; x < 5; ++x) {
      for (int c = 0; c < 3; ++c) {
        EXPECT_EQ(plain.at(x, y)[c], level(1, x + 2, y + 1, c));
        EXPECT_EQ(mirrored.at(x, y)[c], level(1, 4 - x + 2, y + 1, c));
      }
    }
  }
}

TEST(Augment, ResizingIsThatOfThePreprocessing) {
  Picture src(40, 30);
  Augmented how;
  how.resized_width = 20;
  how.resized_height = 24;
  how.part = {3, 2, 12, 10};
  how.out_width = 6;
  how.out_height = 5;
  Picture wanted(6, 5), resized(20, 24), got = augmented(how, src);
  resize_bilinear(src.view(), resized.view());
  resize_bilinear({resized.at(3, 2), 12, 10, 60}, wanted.view());
  EXPECT_EQ(got.bytes, wanted.bytes);
  // Without a part there is no picture in between.
  how.part = {0, 0, 20, 24};
  how.out_width = 20;
  how.out_height = 24;
  EXPECT_EQ(augmented(how, src).bytes, resized.bytes);
}

TEST(Augment, ColoursAreWhatTheyAreSaidToBe) {
  const auto near = [](double wanted, int got) {
    return std::abs(std::clamp(wanted, 0.0, 255.0) - got) <= 0.51;
  };
  const auto grey_of = [](const std::uint8_t* p) { return 0.299 * p[0] + 0.587 * p[1] + 0.114 * p[2]; };
  for (const float f : {0.0F, 0.4F, 1.7F}) {
    Picture src(16, 9);
    double mean = 0;
    for (int i = 0; i < 16 * 9; ++i) mean += std::round(grey_of(src.bytes.data() + 3 * i)) / (16 * 9);
    for (std::uint8_t step = 0; step < 3; ++step) {
      Picture dst = src;
      std::array<float, 3> factors{1, 1, 1};
      factors[step] = f;
      const std::array<std::uint8_t, 3> order{2, 1, 0};
      jitter_photo(dst.view(), factors, order);
      for (int i = 0; i < 16 * 9 * 3; ++i) {
        const auto at = static_cast<std::size_t>(i);
        const double grey = std::round(grey_of(src.bytes.data() + i / 3 * 3));
        const double other = step == 0 ? 0 : step == 1 ? std::round(mean) : grey;
        ASSERT_TRUE(near(src.bytes[at] * f + other * (1 - f), dst.bytes[at]))
            << int{step} << " " << f << " " << i << ": " << int{src.bytes[at]} << " became "
            << int{dst.bytes[at]};
      }
    }
  }
}

TEST(Augment, ColoursKeepInRangeAndOrder) {
  const Augment augment{.height = 8, .width = 8, .brightness = 0.4, .contrast = 0.3, .saturation = 2};
  std::set<std::array<std::uint8_t, 3>> orders;
  for (std::uint64_t position = 0; position < 500; ++position) {
    const Augmented how = draw_augmented(augment, 8, 8, 7, position);
    EXPECT_TRUE(how.factors[0] >= 0.6F && how.factors[0] <= 1.4F);
    EXPECT_TRUE(how.factors[1] >= 0.7F && how.factors[1] <= 1.3F);
    EXPECT_TRUE(how.factors[2] >= 0.0F && how.factors[2] <= 3.0F);
    EXPECT_TRUE(how.jitters());
    orders.insert(how.order);
  }
  EXPECT_EQ(orders.size(), 6U);
  EXPECT_FALSE(draw_augmented({.height = 8, .width = 8}, 8, 8, 7, 0).jitters());
}

}  // namespace
}  // namespace maru
