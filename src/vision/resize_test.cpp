#include "vision/resize.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <random>
#include <string>
#include <utility>
#include <vector>

#include "base/mapped_file.h"
#include "tests/golden.h"
#include "vision/image.h"

namespace maru {
namespace {

// A picture whose rows are followed by padding of a known value.
struct Picture {
  static constexpr std::uint8_t filler = 0xA5;

  Picture(int w, int h, std::size_t padding = 0)
      : width(w),
        height(h),
        row_bytes(static_cast<std::size_t>(w) * 3 + padding),
        bytes(row_bytes * static_cast<std::size_t>(h), filler) {}

  static Picture noise(int w, int h, std::size_t padding = 0, unsigned seed = 1) {
    Picture picture(w, h, padding);
    std::mt19937 random(seed);
    for (int y = 0; y < h; ++y) {
      for (int x = 0; x < 3 * w; ++x)
        picture.view().row(y)[x] = static_cast<std::uint8_t>(random() >> 24);
    }
    return picture;
  }

  PixelView view() { return {bytes.data(), width, height, row_bytes}; }
  int at(int x, int y, int c) const {
    return bytes[static_cast<std::size_t>(y) * row_bytes + static_cast<std::size_t>(x) * 3 +
                 static_cast<std::size_t>(c)];
  }
  bool padding_is_untouched() const {
    for (int y = 0; y < height; ++y) {
      for (std::size_t i = static_cast<std::size_t>(width) * 3; i < row_bytes; ++i) {
        if (bytes[static_cast<std::size_t>(y) * row_bytes + i] != filler) return false;
      }
    }
    return true;
  }

  int width, height;
  std::size_t row_bytes;
  std::vector<std::uint8_t> bytes;
};

std::vector<float> preprocessed(ConstPixelView src, const Normalise& normalise, int width, int height) {
  std::vector<float> result(static_cast<std::size_t>(width) * static_cast<std::size_t>(height) * 3,
                            NAN);
  std::vector<std::byte> workspace(preprocess_workspace_bytes(width));
  preprocess(src, normalise, width, height, result.data(), workspace);
  return result;
}

// Bilinear interpolation in double precision, from its definition.
double interpolated(const Picture& src, double x, double y, int c) {
  x = std::clamp(x, 0.0, src.width - 1.0);
  y = std::clamp(y, 0.0, src.height - 1.0);
  const int left = static_cast<int>(x), top = static_cast<int>(y);
  const int right = std::min(left + 1, src.width - 1), bottom = std::min(top + 1, src.height - 1);
  const double above = std::lerp(src.at(left, top, c), src.at(right, top, c), x - left);
  const double below = std::lerp(src.at(left, bottom, c), src.at(right, bottom, c), x - left);
  return std::lerp(above, below, y - top);
}

struct Sizes {
  int src_width, src_height, dst_width, dst_height;
};

const Sizes many_sizes[] = {{1, 1, 1, 1},    {1, 1, 7, 5},       {1, 9, 4, 4},       {9, 1, 4, 4},
                            {7, 5, 1, 1},    {2, 2, 1, 1},       {20, 10, 10, 5},    {20, 10, 10, 7},
                            {31, 17, 62, 9}, {100, 75, 224, 33}, {640, 480, 224, 7}, {50, 300, 49, 299},
                            {64, 48, 64, 48}};

TEST(Resize, IsWithinOneLevelOfTheDefinition) {
  for (const auto& [sw, sh, dw, dh] : many_sizes) {
    Picture src = Picture::noise(sw, sh, 5), dst(dw, dh, 3);
    resize_bilinear(src.view(), dst.view());
    double worst = 0;
    for (int y = 0; y < dh; ++y) {
      for (int x = 0; x < dw; ++x) {
        for (int c = 0; c < 3; ++c) {
          const double expected =
              interpolated(src, (x + 0.5) * sw / dw - 0.5, (y + 0.5) * sh / dh - 0.5, c);
          worst = std::max(worst, std::abs(expected - dst.at(x, y, c)));
        }
      }
    }
    EXPECT_LE(worst, 1.0) << sw << "x" << sh << " -> " << dw << "x" << dh;
    EXPECT_TRUE(dst.padding_is_untouched());
  }
}

// Numbers by OpenCV 4.6: cv2.resize(src, size), src[y, x, c] = (x * 37 + y * 91 + c * 53 + x * y * 11)
// % 256.
TEST(Resize, EqualsOpenCV) {
  Picture src(5, 4);
  for (int y = 0; y < 4; ++y) {
    for (int x = 0; x < 5; ++x) {
      for (int c = 0; c < 3; ++c) {
        src.view().row(y)[3 * x + c] =
            static_cast<std::uint8_t>((x * 37 + y * 91 + c * 53 + x * y * 11) % 256);
      }
    }
  }
  Picture smaller(3, 2), larger(7, 5);
  resize_bilinear(src.view(), smaller.view());
  resize_bilinear(src.view(), larger.view());
  EXPECT_EQ(smaller.bytes, (std::vector<std::uint8_t>{60, 113, 166, 131, 184, 109, 116, 126, 179, 121,
                                                      131, 99, 101, 154, 79, 123, 133, 101}));
  EXPECT_EQ(
      larger.bytes,
      (std::vector<std::uint8_t>{
          0,   53,  106, 21,  74,  127, 48,  100, 153, 74,  127, 180, 100, 153, 206, 127, 180, 233,
          148, 201, 254, 64,  117, 170, 89,  142, 195, 121, 174, 176, 153, 206, 80,  185, 110, 112,
          140, 91,  144, 63,  116, 169, 137, 190, 115, 167, 147, 145, 169, 130, 147, 116, 169, 94,
          154, 115, 132, 137, 117, 115, 95,  148, 73,  132, 185, 59,  168, 118, 95,  161, 86,  117,
          78,  131, 107, 122, 120, 152, 134, 143, 119, 126, 179, 52,  17,  70,  123, 57,  110, 163,
          107, 160, 140, 157, 210, 7,   207, 77,  57,  147, 54,  107, 41,  94,  147}));
}

TEST(Resize, KeepsAConstantPicture) {
  for (const auto& [sw, sh, dw, dh] : many_sizes) {
    for (int level : {0, 1, 127, 254, 255}) {
      Picture src(sw, sh), dst(dw, dh);
      std::fill(src.bytes.begin(), src.bytes.end(), static_cast<std::uint8_t>(level));
      resize_bilinear(src.view(), dst.view());
      EXPECT_TRUE(std::all_of(dst.bytes.begin(), dst.bytes.end(), [&](int b) { return b == level; }))
          << level << " " << sw << "x" << sh << " -> " << dw << "x" << dh;
    }
  }
}

TEST(Resize, OfTheSameSizeIsACopy) {
  Picture src = Picture::noise(33, 21, 7), dst(33, 21, 7);
  resize_bilinear(src.view(), dst.view());
  EXPECT_EQ(src.bytes, dst.bytes);
}

// OpenCV switches to its area filter here.
TEST(Resize, ToHalfTheSizeIsTheRoundedMeanOfFour) {
  Picture src = Picture::noise(64, 38), dst(32, 19);
  resize_bilinear(src.view(), dst.view());
  for (int y = 0; y < 19; ++y) {
    for (int x = 0; x < 32; ++x) {
      for (int c = 0; c < 3; ++c) {
        const int sum = src.at(2 * x, 2 * y, c) + src.at(2 * x + 1, 2 * y, c) +
                        src.at(2 * x, 2 * y + 1, c) + src.at(2 * x + 1, 2 * y + 1, c);
        ASSERT_EQ(dst.at(x, y, c), (sum + 2) >> 2);
      }
    }
  }
}

TEST(ResizeTap, StaysInsideAndSumsToOne) {
  for (int src_size = 1; src_size <= 120; ++src_size) {
    for (int dst_size = 1; dst_size <= 120; ++dst_size) {
      for (int i = 0; i < dst_size; ++i) {
        const ResizeTap tap = resize_tap(i, dst_size, src_size);
        ASSERT_GE(tap.first, 0);
        ASSERT_LE(tap.first, tap.second);
        ASSERT_LE(tap.second, std::min(tap.first + 1, src_size - 1));
        ASSERT_GE(std::min(tap.first_weight, tap.second_weight), 0);
        ASSERT_EQ(tap.first_weight + tap.second_weight, 2048);
      }
    }
  }
}

TEST(Preprocess, IsResizeThenNormalise) {
  for (const auto& [sw, sh, dw, dh] : many_sizes) {
    Picture src = Picture::noise(sw, sh, 1), resized(dw, dh);
    resize_bilinear(src.view(), resized.view());
    const Normalise normalise{{104, 117, 123}, 0.017f, true, Normalise::Fit::squash};
    const std::vector<float> result = preprocessed(src.view(), normalise, dw, dh);
    std::size_t i = 0;
    for (int c = 0; c < 3; ++c) {
      for (int y = 0; y < dh; ++y) {
        for (int x = 0; x < dw; ++x, ++i) {
          ASSERT_EQ(result[i],
                    (static_cast<float>(resized.at(x, y, 2 - c)) - normalise.mean[c]) * 0.017f);
        }
      }
    }
  }
}

TEST(Preprocess, WithoutBgrKeepsTheOrder) {
  Picture src(1, 1);
  src.bytes = {10, 20, 30};
  EXPECT_EQ(preprocessed(src.view(), Normalise{}, 1, 1), (std::vector<float>{10, 20, 30}));
  Normalise bgr{.mean = {1, 2, 3}, .scale = 2, .bgr = true};
  EXPECT_EQ(preprocessed(src.view(), bgr, 1, 1), (std::vector<float>{58, 36, 14}));
}

TEST(Preprocess, CropIsThatOfTheCutOutPicture) {
  for (const auto& [sw, sh, dw, dh] : many_sizes) {
    Picture src = Picture::noise(sw, sh, 2);
    const CropRect crop = centre_crop(sw, sh, dw, dh);
    ASSERT_TRUE(crop.x >= 0 && crop.y >= 0 && crop.width >= 1 && crop.height >= 1);
    ASSERT_TRUE(crop.x + crop.width <= sw && crop.y + crop.height <= sh);
    Picture cut(crop.width, crop.height);
    for (int y = 0; y < crop.height; ++y) {
      std::copy_n(src.view().row(crop.y + y) + 3 * crop.x, 3 * crop.width, cut.view().row(y));
    }
    const Normalise squash{};
    Normalise fit = squash;
    fit.fit = Normalise::Fit::crop;
    EXPECT_EQ(preprocessed(src.view(), fit, dw, dh), preprocessed(cut.view(), squash, dw, dh));
  }
}

TEST(CentreCrop, TakesTheLargestRectangleOfTheShape) {
  const auto expect = [](CropRect crop, int x, int y, int width, int height) {
    EXPECT_EQ(std::vector({crop.x, crop.y, crop.width, crop.height}),
              std::vector({x, y, width, height}));
  };
  expect(centre_crop(500, 375, 224, 224), 62, 0, 375, 375);
  expect(centre_crop(375, 500, 224, 224), 0, 62, 375, 375);
  expect(centre_crop(224, 224, 224, 224), 0, 0, 224, 224);
  expect(centre_crop(1920, 1080, 4, 3), 240, 0, 1440, 1080);
  expect(centre_crop(100, 100, 3, 2), 0, 16, 100, 67);
  expect(centre_crop(1, 1000, 1000, 1), 0, 499, 1, 1);
  expect(centre_crop(16384, 16384, 1 << 20, 1), 0, 8191, 16384, 1);
}

TEST(Preprocess, TakesAWorkspaceAtAnyAddressAndStaysInside) {
  Picture src = Picture::noise(40, 30);
  const std::vector<float> expected = preprocessed(src.view(), Normalise{}, 13, 11);
  const std::size_t bytes = preprocess_workspace_bytes(13);
  for (std::size_t offset = 0; offset < 65; ++offset) {
    std::vector<std::byte> memory(offset + bytes + 64, std::byte{0x5A});
    std::vector<float> result(expected.size());
    preprocess(src.view(), Normalise{}, 13, 11, result.data(),
               std::span(memory).subspan(offset, bytes));
    EXPECT_EQ(result, expected);
    const auto untouched = [](std::byte b) { return b == std::byte{0x5A}; };
    const auto end = memory.begin() + static_cast<std::ptrdiff_t>(offset + bytes);
    EXPECT_TRUE(
        std::all_of(memory.begin(), memory.begin() + static_cast<std::ptrdiff_t>(offset), untouched));
    EXPECT_TRUE(std::all_of(end, memory.end(), untouched));
  }
  std::vector<std::byte> small(bytes - 1);
  std::vector<float> result(expected.size());
  EXPECT_THROW(preprocess(src.view(), Normalise{}, 13, 11, result.data(), small), std::logic_error);
}

// ---- against what OpenCV made of real photos

TEST(Preprocess, EqualsOpenCVOnPhotos) {
  const std::filesystem::path shared = testing::shared_folder();
  int photos = 0;
  for (const auto& [net, side] :
       {std::pair(testing::kGoogLeNet, 224), std::pair(testing::kSqueezeNet, 227)}) {
    std::ifstream list(shared / net.golden / "photos.txt");
    std::string number, photo, label;
    for (; list >> number >> photo >> label; ++photos) {
      const MappedFile file(shared / "photos" / photo);
      const ImageInfo info = probe_image(file.bytes(), photo);
      Picture picture(info.width, info.height);
      decode_image(file.bytes(), photo, picture.view());
      const Normalise caffe{{104, 117, 123}, 1, true, Normalise::Fit::squash};
      const std::vector<float> result = preprocessed(picture.view(), caffe, side, side);
      const std::vector<float> expected = testing::golden(net, "inputs/" + number + ".npy");
      ASSERT_EQ(result.size(), expected.size());
      float worst = 0;
      std::size_t different = 0;
      for (std::size_t i = 0; i < result.size(); ++i) {
        worst = std::max(worst, std::abs(result[i] - expected[i]));
        different += result[i] != expected[i];
      }
      EXPECT_LE(worst, 1.0f) << photo;  // another libjpeg may round its DCT differently
      if (different > 0)
        std::printf("%s: %zu values differ, by %g at most\n", photo.c_str(), different, worst);
    }
  }
  if (photos == 0)
    GTEST_SKIP() << "no photos at " << shared << "; set MARU_SHARED to the shared folder";
}

}  // namespace
}  // namespace maru
