#include "ops/preprocess.h"

#include <algorithm>

#include "ops/reference.h"
#include "ops/window.h"

namespace maru {
namespace {

void require_dtypes(const TensorDesc& pixels, const TensorDesc& frames) {
  if (pixels.dtype == DType::u8 && frames.dtype == DType::i32) return;
  throw Error("inputs", "pixels of u8 and frames of i32",
              fmt::format("{} and {}", to_string(pixels.dtype), to_string(frames.dtype)));
}

}  // namespace

std::string_view to_string(Preprocessing::Channels channels) noexcept {
  return channels == Preprocessing::Channels::bgr ? "bgr" : "rgb";
}

std::string_view to_string(Preprocessing::Resize resize) noexcept {
  return resize == Preprocessing::Resize::squash ? "squash" : "crop";
}

std::vector<TensorDesc> Preprocess::infer(Descs src) const {
  constexpr std::int64_t kMost = std::int64_t{1} << 15;
  require_count(src, 2, 2);
  require_rank(src[0], 2);
  require_dtypes(src[0], src[1]);
  require_shape(src, 1, {src[0].shape[0], 4}, "frames");
  if (height < 1 || width < 1 || height > kMost || width > kMost) {
    throw Error("preprocess", fmt::format("a height and a width from 1 to {}", kMost),
                fmt::format("{}x{}", height, width));
  }
  if (how.mean.size() != 1 && how.mean.size() != 3) {
    throw Error("preprocess", "1 or 3 means", print_field(how.mean));
  }
  if (dtype != DType::f32 && dtype != DType::f16) {
    throw Error("dtype", "f32 or f16", to_string(dtype));
  }
  return {{dtype, {src[0].shape[0], 3, height, width}, Layout::plain()}};
}

Cost Preprocess::cost(Descs src, Descs dst) const {
  // Two taps an axis, the mean and the scale; of each photo at most the whole buffer is read.
  return {8 * static_cast<double>(dst[0].count()), traffic(src, dst)};
}

Normalise Preprocess::normalise() const {
  Normalise wanted;
  for (std::size_t c = 0; c < 3; ++c) wanted.mean[c] = how.mean[how.mean.size() == 1 ? 0 : c];
  wanted.scale = how.scale;
  wanted.bgr = how.channels == Preprocessing::Channels::bgr;
  wanted.fit =
      how.resize == Preprocessing::Resize::squash ? Normalise::Fit::squash : Normalise::Fit::crop;
  return wanted;
}

ConstPixelView Preprocess::photo(Views src, std::int64_t n) {
  require_dtypes(src[0].desc, src[1].desc);
  const Frame frame = src[1].as<const Frame>()[n];
  const std::int64_t row = std::int64_t{frame.width} * 3, row_bytes = frame.row_bytes;
  const std::int64_t begin = std::int64_t{frame.offset_16} * Frame::kUnit;
  const std::int64_t end = begin + (std::int64_t{frame.height} - 1) * row_bytes + row;
  const std::int64_t bytes = src[0].desc.count();
  if (frame.height < 1 || frame.width < 1 || row_bytes < row || begin < 0 || end > bytes) {
    throw Error(fmt::format("frame {}", n), fmt::format("a photo within {} bytes of pixels", bytes),
                fmt::format("{}x{} pixels in rows of {} bytes at byte {}", frame.width, frame.height,
                            row_bytes, begin));
  }
  return {src[0].as<const std::uint8_t>() + begin, frame.width, frame.height,
          static_cast<std::size_t>(row_bytes)};
}

void Preprocess::reference(Views src, Views dst) const {
  const int columns = static_cast<int>(width), rows = static_cast<int>(height);
  std::vector<std::byte> workspace(preprocess_workspace_bytes(columns));
  std::vector<float> image(static_cast<std::size_t>(3 * height * width));
  for_real(dst[0].desc.dtype, [&](auto zero) {
    using T = decltype(zero);
    T* to = dst[0].as<T>();
    for (std::int64_t n = 0; n < dst[0].desc.shape[0]; ++n) {
      preprocess(photo(src, n), normalise(), columns, rows, image.data(), workspace);
      to = std::ranges::copy(image, to).out;
    }
  });
}

Operator preprocess_operator() {
  using Channels = Preprocessing::Channels;
  using Resize = Preprocessing::Resize;
  Operator op = operator_of<Preprocess>();
  // The second of three is upright; rows are longer than their pixels.
  const auto fill = [](Views src) {
    const std::int64_t images = src[0].desc.shape[0], capacity = src[0].desc.shape[1] / 16;
    for (std::int64_t n = 0; n < images; ++n) {
      const auto offset = static_cast<std::int32_t>(n * capacity);
      src[1].as<Preprocess::Frame>()[n] =
          n % 3 == 1 ? Preprocess::Frame{31, 17, 64, offset} : Preprocess::Frame{19, 40, 123, offset};
    }
  };
  const auto add = [&](std::string name, std::int64_t images, Preprocess preprocess) {
    Case one = make_case(
        std::move(name), std::move(preprocess),
        {{DType::u8, {images, 2368}, Layout::plain()}, {DType::i32, {images, 4}, Layout::plain()}}, 0,
        256);
    one.fill = fill;
    op.cases.push_back(std::move(one));
  };
  add("squash", 1, {16, 16});
  add("crop", 2, {16, 16, {Channels::bgr, Resize::crop}});
  add("rgb scaled", 3, {9, 14, {Channels::rgb, Resize::squash, {127.5F}, 1 / 127.5F}});
  add("enlarged", 2, {64, 48, {Channels::rgb, Resize::crop, {0, 1, 2}}});
  add("halves", 2, {16, 17, {}, DType::f16});
  // Of the first photo, all rows and every fifth column have all the weight.
  add("as high", 2, {19, 8});
  add("as large", 2, {19, 40});
  // Photos much larger than the result, the first much wider too.
  for (const auto& [name, preprocess] :
       {std::pair{"large", Preprocess{9, 70}}, {"fifths of large", Preprocess{8, 400}}}) {
    Case large = make_case(
        name, preprocess,
        {{DType::u8, {2, 240208}, Layout::plain()}, {DType::i32, {2, 4}, Layout::plain()}}, 0, 256);
    large.fill = [](Views src) {
      src[1].as<Preprocess::Frame>()[0] = {40, 2000, 6005, 0};
      src[1].as<Preprocess::Frame>()[1] = {76, 1000, 3001, 240208 / 16};
    };
    op.cases.push_back(std::move(large));
  }
  return op;
}

}  // namespace maru
