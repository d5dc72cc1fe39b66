#include "data/augment.h"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <utility>

#include "base/error.h"
#include "data/draws.h"

namespace maru {
namespace {

constexpr std::int64_t kMostPixels = std::int64_t{1} << 15;  // of a side: as Preprocess
constexpr int kTries = 10;                                   // of a part that fits, as Inception's crop

void require(bool right, std::string_view field, std::string_view expected, const auto& got,
             std::string_view hint = {}) {
  if (!right)
    throw Error(fmt::format("augmentation: {}", field), expected, fmt::format("{}", got), hint);
}

// torchvision's RandomResizedCrop has the same rules.
CropRect random_part(const Augment& augment, int height, int width, Draws& draws) {
  const double area = static_cast<double>(height) * width;
  const double log_ratio = std::log(augment.ratio);
  for (int i = 0; i < kTries; ++i) {
    const double wanted = area * draws.uniform(augment.area_low, augment.area_high);
    const double ratio = std::exp(draws.uniform(-log_ratio, log_ratio));
    const auto w = static_cast<std::int64_t>(std::lround(std::sqrt(wanted * ratio)));
    const auto h = static_cast<std::int64_t>(std::lround(std::sqrt(wanted / ratio)));
    if (w < 1 || h < 1 || w > width || h > height) continue;
    const auto y = draws.below(height - h + 1), x = draws.below(width - w + 1);
    return {static_cast<int>(x), static_cast<int>(y), static_cast<int>(w), static_cast<int>(h)};
  }
  const double ratio =
      std::clamp(static_cast<double>(width) / height, 1 / augment.ratio, augment.ratio);
  const int w = std::clamp(static_cast<int>(std::lround(height * ratio)), 1, width);
  const int h = std::clamp(static_cast<int>(std::lround(width / ratio)), 1, height);
  return {(width - w) / 2, (height - h) / 2, w, h};
}

CropRect square_part(const Augment& augment, int height, int width, Draws& draws) {
  const int crop = static_cast<int>(augment.crop);
  if (crop > height || crop > width) {
    throw Error("augmentation", fmt::format("a photo of {0} x {0} pixels or more, to crop", crop),
                fmt::format("{} x {}", width, height),
                "new_height and new_width, which resize it first");
  }
  if (!augment.random) return {(width - crop) / 2, (height - crop) / 2, crop, crop};
  const auto y = draws.below(height - crop + 1), x = draws.below(width - crop + 1);
  return {static_cast<int>(x), static_cast<int>(y), crop, crop};
}

CropRect centre_part(const Augment& augment, int height, int width) {
  const CropRect largest =
      centre_crop(width, height, static_cast<int>(augment.width), static_cast<int>(augment.height));
  const auto shorter = [&](int side) {
    return std::clamp(static_cast<int>(std::lround(side * augment.centre)), 1, side);
  };
  const int w = shorter(largest.width), h = shorter(largest.height);
  return {(width - w) / 2, (height - h) / 2, w, h};
}

float factor(double strength, Draws& draws) {
  return static_cast<float>(draws.uniform(std::max(0.0, 1 - strength), 1 + strength));
}

// Integers with 16 bits of fraction, so that every machine rounds alike.
constexpr int kHalf = 1 << 15;
constexpr int kRed = 19595, kGreen = 38470, kBlue = 7471;  // 0.299, 0.587, 0.114; their sum is 1 << 16

std::int32_t fixed(float value) { return static_cast<std::int32_t>(std::lround(value * 65536.0F)); }

std::uint8_t level(std::int32_t value) {
  return static_cast<std::uint8_t>(std::clamp((value + kHalf) >> 16, 0, 255));
}

// level * f + other * (1 - f), for each level.
std::array<std::uint8_t, 256> blend_table(float f, int other) {
  std::array<std::uint8_t, 256> table{};
  const std::int32_t weight = fixed(f);
  for (int i = 0; i < 256; ++i)
    table[static_cast<std::size_t>(i)] = level(i * weight + other * (65536 - weight));
  return table;
}

template <class F>
void each_pixel(PixelView photo, F&& change) {
  for (int y = 0; y < photo.height; ++y) {
    std::uint8_t* pixel = photo.row(y);
    for (int x = 0; x < photo.width; ++x, pixel += 3) change(pixel);
  }
}

void apply_table(PixelView photo, const std::array<std::uint8_t, 256>& table) {
  each_pixel(photo, [&](std::uint8_t* pixel) {
    for (int c = 0; c < 3; ++c) pixel[c] = table[pixel[c]];
  });
}

void saturate(PixelView photo, float f) {
  const std::int32_t weight = fixed(f);
  each_pixel(photo, [&](std::uint8_t* pixel) {
    const std::int32_t rest = grey_of(pixel) * (65536 - weight);
    for (int c = 0; c < 3; ++c) pixel[c] = level(pixel[c] * weight + rest);
  });
}

int mean_grey(PixelView photo) {
  std::int64_t sum = 0;
  each_pixel(photo, [&](const std::uint8_t* pixel) { sum += grey_of(pixel); });
  const std::int64_t count = std::int64_t{photo.width} * photo.height;
  return static_cast<int>((sum + count / 2) / count);
}

ConstPixelView part_of(ConstPixelView photo, const CropRect& part) {
  return {photo.row(part.y) + 3 * static_cast<std::size_t>(part.x), part.width, part.height,
          photo.row_bytes};
}

}  // namespace

int grey_of(const std::uint8_t* rgb) {
  return (kRed * rgb[0] + kGreen * rgb[1] + kBlue * rgb[2] + kHalf) >> 16;
}

void require_valid(const Augment& a) {
  const auto side = [](std::int64_t pixels) { return pixels >= 1 && pixels <= kMostPixels; };
  const std::string sides = fmt::format("1 to {} pixels", kMostPixels);
  require(side(a.height), "height", sides, a.height);
  require(side(a.width), "width", sides, a.width);
  const bool resizes = a.new_height != 0 || a.new_width != 0;
  require(!resizes || side(a.new_height), "new_height", sides, a.new_height, "giving both or none");
  require(!resizes || side(a.new_width), "new_width", sides, a.new_width, "giving both or none");
  require(a.crop == 0 || side(a.crop), "crop", sides, a.crop);
  require(!resizes || a.crop <= std::min(a.new_height, a.new_width), "crop",
          fmt::format("at most new_height and new_width, {} and {}", a.new_height, a.new_width),
          a.crop);
  require(a.area_high >= 0 && a.area_high <= 1, "area_high", "a share of the photo from 0 to 1",
          a.area_high);
  require(a.area_high == 0 || (a.area_low > 0 && a.area_low <= a.area_high), "area_low",
          "more than 0, at most area_high", a.area_low);
  require(a.ratio >= 1 && a.ratio <= 100, "ratio", "1 to 100", a.ratio);
  require(a.centre >= 0 && a.centre <= 1, "centre", "a share of the photo from 0 to 1", a.centre);
  const int ways = (a.crop != 0 ? 1 : 0) + (a.area_high != 0 ? 1 : 0) + (a.centre != 0 ? 1 : 0);
  require(ways <= 1, "crop", "one of crop, area_high and centre", ways);
  for (const auto& [strength, name] : {std::pair{a.brightness, "brightness"},
                                       {a.contrast, "contrast"},
                                       {a.saturation, "saturation"}}) {
    require(strength >= 0 && strength <= 10, name, "0 to 10", strength);
  }
}

Augmented draw_augmented(const Augment& augment, int height, int width, std::uint64_t seed,
                         std::uint64_t position) {
  Augmented how;
  how.resized_height = augment.new_height != 0 ? static_cast<int>(augment.new_height) : height;
  how.resized_width = augment.new_width != 0 ? static_cast<int>(augment.new_width) : width;
  Draws draws(seed, position, Draws::Purpose::augment);
  // First what needs the same number of draws for every photo.
  how.mirror = augment.mirror && draws.below(2) == 1;
  how.factors = {factor(augment.brightness, draws), factor(augment.contrast, draws),
                 factor(augment.saturation, draws)};
  if (how.jitters()) {
    for (std::int64_t i = 2; i > 0; --i) {
      std::swap(how.order[static_cast<std::size_t>(i)],
                how.order[static_cast<std::size_t>(draws.below(i + 1))]);
    }
  }
  if (augment.crop != 0) {
    how.part = square_part(augment, how.resized_height, how.resized_width, draws);
  } else if (augment.area_high != 0) {
    how.part = random_part(augment, how.resized_height, how.resized_width, draws);
  } else if (augment.centre != 0) {
    how.part = centre_part(augment, how.resized_height, how.resized_width);
  } else {
    how.part = {0, 0, how.resized_width, how.resized_height};
  }
  const bool larger = std::int64_t{how.part.height} * how.part.width > augment.height * augment.width;
  how.out_height = larger ? static_cast<int>(augment.height) : how.part.height;
  how.out_width = larger ? static_cast<int>(augment.width) : how.part.width;
  return how;
}

void augment_photo(const Augmented& how, ConstPixelView src, PixelView dst, AugmentScratch& scratch) {
  MARU_ASSERT(dst.height == how.out_height && dst.width == how.out_width);
  const auto resize = [&](ConstPixelView from, PixelView to) {
    scratch.workspace.resize(std::max(scratch.workspace.size(), resize_workspace_bytes(to.width)));
    resize_bilinear(from, to, scratch.workspace);
  };
  const bool whole = how.part.height == how.resized_height && how.part.width == how.resized_width;
  if (how.resized_height != src.height || how.resized_width != src.width) {
    if (whole && !how.resizes_part()) {
      resize(src, dst);
      src = dst;
    } else {
      const std::size_t row_bytes = static_cast<std::size_t>(how.resized_width) * 3;
      const std::size_t bytes = row_bytes * static_cast<std::size_t>(how.resized_height);
      scratch.resized.resize(std::max(scratch.resized.size(), bytes));
      const PixelView resized{scratch.resized.data(), how.resized_width, how.resized_height, row_bytes};
      resize(src, resized);
      src = resized;
    }
  }
  if (src.data != dst.data) {
    const ConstPixelView part = part_of(src, how.part);
    if (how.resizes_part()) {
      resize(part, dst);
    } else {
      for (int y = 0; y < dst.height; ++y) {
        std::memcpy(dst.row(y), part.row(y), static_cast<std::size_t>(dst.width) * 3);
      }
    }
  }
  if (how.mirror) mirror_photo(dst);
  if (how.jitters()) jitter_photo(dst, how.factors, how.order);
}

void mirror_photo(PixelView photo) {
  for (int y = 0; y < photo.height; ++y) {
    std::uint8_t* left = photo.row(y);
    std::uint8_t* right = left + 3 * (static_cast<std::ptrdiff_t>(photo.width) - 1);
    for (; left < right; left += 3, right -= 3) std::swap_ranges(left, left + 3, right);
  }
}

void jitter_photo(PixelView photo, std::span<const float, 3> factors,
                  std::span<const std::uint8_t, 3> order) {
  for (const std::uint8_t step : order) {
    const float f = factors[step];
    if (f == 1) continue;
    if (step == 0) {
      apply_table(photo, blend_table(f, 0));
    } else if (step == 1) {
      apply_table(photo, blend_table(f, mean_grey(photo)));
    } else {
      saturate(photo, f);
    }
  }
}

}  // namespace maru
