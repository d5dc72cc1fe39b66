#include "vision/resize.h"

#include <algorithm>
#include <cmath>
#include <memory>
#include <utility>
#include <vector>

#include "base/error.h"

namespace maru {
namespace {

constexpr int kOne = 2048;  // weight 1.0: OpenCV's INTER_RESIZE_COEF_SCALE
constexpr int kChannels = 3;
constexpr std::size_t kAlignment = 64;

bool is_picture(ConstPixelView view) {
  return view.data != nullptr && view.width > 0 && view.height > 0 &&
         view.row_bytes >= static_cast<std::size_t>(view.width) * kChannels;
}

// Source rows after the horizontal pass: 11 fraction bits of which 4 are dropped, so that a sample (at
// most 255 * 2048 / 16) fits in 16 bits. Two rows are kept; going down, the lower one is soon the upper
// one. interleaved: samples as in a picture; otherwise three planes of dst_width.
template <bool interleaved>
class RowPair {
 public:
  static std::size_t workspace_bytes(int dst_width) {
    const auto width = static_cast<std::size_t>(dst_width);
    return kAlignment + width * sizeof(ResizeTap) + 2 * row_bytes(dst_width);
  }

  RowPair(ConstPixelView src, int dst_width, std::span<std::byte> workspace)
      : src_(src), width_(dst_width) {
    MARU_ASSERT(workspace.size() >= workspace_bytes(dst_width));
    void* start = workspace.data();
    std::size_t space = workspace.size();
    std::align(kAlignment, 1, start, space);
    rows_[0] = static_cast<std::int16_t*>(start);
    rows_[1] = rows_[0] + row_bytes(dst_width) / sizeof(std::int16_t);
    taps_ = reinterpret_cast<ResizeTap*>(rows_[1] + row_bytes(dst_width) / sizeof(std::int16_t));
    for (int x = 0; x < dst_width; ++x) {
      ResizeTap tap = resize_tap(x, dst_width, src.width);
      tap.first *= kChannels;
      tap.second *= kChannels;
      std::construct_at(taps_ + x, tap);
    }
  }

  // The two rows that `tap` names. They stay valid until the next call.
  std::pair<const std::int16_t*, const std::int16_t*> at(const ResizeTap& tap) {
    if (tap.first == held_[1]) {
      std::swap(rows_[0], rows_[1]);
      std::swap(held_[0], held_[1]);
    }
    load(0, tap.first);
    if (tap.second == tap.first) return {rows_[0], rows_[0]};
    load(1, tap.second);
    return {rows_[0], rows_[1]};
  }

 private:
  static std::size_t row_bytes(int dst_width) {
    const std::size_t bytes = static_cast<std::size_t>(dst_width) * kChannels * sizeof(std::int16_t);
    return (bytes + kAlignment - 1) / kAlignment * kAlignment;
  }

  void load(int slot, int y) {
    if (held_[slot] == y) return;
    held_[slot] = y;
    const std::uint8_t* src = src_.row(y);
    std::int16_t* dst = rows_[slot];
    const std::ptrdiff_t across = interleaved ? kChannels : 1;
    const std::ptrdiff_t between = interleaved ? 1 : width_;
    for (const ResizeTap *tap = taps_, *end = taps_ + width_; tap != end; ++tap, dst += across) {
      const std::uint8_t* first = src + tap->first;
      const std::uint8_t* second = src + tap->second;
      for (int c = 0; c < kChannels; ++c) {
        const int sum = first[c] * tap->first_weight + second[c] * tap->second_weight;
        dst[c * between] = static_cast<std::int16_t>(sum >> 4);
      }
    }
  }

  ConstPixelView src_;
  int width_;
  ResizeTap* taps_;
  std::int16_t* rows_[2];
  int held_[2] = {-1, -1};
};

// The vertical pass of one sample; each product keeps its upper 16 bits.
int blend(std::int16_t upper, std::int16_t lower, std::int16_t upper_weight,
          std::int16_t lower_weight) {
  return ((upper * upper_weight >> 16) + (lower * lower_weight >> 16) + 2) >> 2;
}

}  // namespace

ResizeTap resize_tap(int dst, int dst_size, int src_size) {
  // Step by step as OpenCV rounds it. volatile: a fused multiply-add would round once less.
  const double scale = 1.0 / (static_cast<double>(dst_size) / src_size);
  const volatile double product = (dst + 0.5) * scale;
  float fraction = static_cast<float>(product - 0.5);
  const int floor = static_cast<int>(std::floor(fraction));
  fraction -= static_cast<float>(floor);
  const auto second_weight = static_cast<std::int16_t>(std::lrint(fraction * kOne));
  return {std::clamp(floor, 0, src_size - 1), std::clamp(floor + 1, 0, src_size - 1),
          static_cast<std::int16_t>(kOne - second_weight), second_weight};
}

CropRect centre_crop(int src_width, int src_height, int dst_width, int dst_height) {
  MARU_ASSERT(src_width > 0 && src_height > 0 && dst_width > 0 && dst_height > 0);
  const auto rounded = [](std::int64_t side, std::int64_t numerator, std::int64_t denominator) {
    return static_cast<int>(
        std::max<std::int64_t>(1, (2 * side * numerator + denominator) / (2 * denominator)));
  };
  const bool too_wide = std::int64_t{src_width} * dst_height > std::int64_t{src_height} * dst_width;
  const int width = too_wide ? rounded(src_height, dst_width, dst_height) : src_width;
  const int height = too_wide ? src_height : rounded(src_width, dst_height, dst_width);
  return {(src_width - width) / 2, (src_height - height) / 2, width, height};
}

std::size_t resize_workspace_bytes(int dst_width) { return RowPair<true>::workspace_bytes(dst_width); }

void resize_bilinear(ConstPixelView src, PixelView dst) {
  std::vector<std::byte> workspace(resize_workspace_bytes(dst.width));
  resize_bilinear(src, dst, workspace);
}

void resize_bilinear(ConstPixelView src, PixelView dst, std::span<std::byte> workspace) {
  MARU_ASSERT(is_picture(src) && is_picture(dst));
  RowPair<true> rows(src, dst.width, workspace);
  const std::ptrdiff_t samples = static_cast<std::ptrdiff_t>(dst.width) * kChannels;
  for (int y = 0; y < dst.height; ++y) {
    const ResizeTap tap = resize_tap(y, dst.height, src.height);
    const auto [upper, lower] = rows.at(tap);
    std::uint8_t* out = dst.row(y);
    for (std::ptrdiff_t i = 0; i < samples; ++i) {
      out[i] =
          static_cast<std::uint8_t>(blend(upper[i], lower[i], tap.first_weight, tap.second_weight));
    }
  }
}

std::size_t preprocess_workspace_bytes(int dst_width) {
  return RowPair<false>::workspace_bytes(dst_width);
}

void preprocess(ConstPixelView src, const Normalise& normalise, int dst_width, int dst_height,
                float* dst, std::span<std::byte> workspace) {
  MARU_ASSERT(is_picture(src) && dst != nullptr && dst_width > 0 && dst_height > 0);
  if (normalise.fit == Normalise::Fit::crop) {
    const CropRect crop = centre_crop(src.width, src.height, dst_width, dst_height);
    const std::size_t left = static_cast<std::size_t>(crop.x) * kChannels;
    src = ConstPixelView(src.row(crop.y) + left, crop.width, crop.height, src.row_bytes);
  }
  RowPair<false> rows(src, dst_width, workspace);
  const std::ptrdiff_t plane = static_cast<std::ptrdiff_t>(dst_width) * dst_height;
  for (int y = 0; y < dst_height; ++y) {
    const ResizeTap tap = resize_tap(y, dst_height, src.height);
    const auto [upper, lower] = rows.at(tap);
    for (int c = 0; c < kChannels; ++c) {
      const std::ptrdiff_t from =
          static_cast<std::ptrdiff_t>(normalise.bgr ? kChannels - 1 - c : c) * dst_width;
      const std::int16_t* above = upper + from;
      const std::int16_t* below = lower + from;
      float* out = dst + c * plane + static_cast<std::ptrdiff_t>(y) * dst_width;
      const float mean = normalise.mean[c], scale = normalise.scale;
      for (int x = 0; x < dst_width; ++x) {
        const int value = blend(above[x], below[x], tap.first_weight, tap.second_weight);
        out[x] = (static_cast<float>(value) - mean) * scale;
      }
    }
  }
}

}  // namespace maru
