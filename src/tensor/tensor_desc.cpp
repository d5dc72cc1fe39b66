#include "tensor/tensor_desc.h"

#include "base/error.h"

namespace maru {
namespace {

std::int64_t channels_of(const Shape& shape) { return shape.rank() > 1 ? shape[1] : 1; }
std::int64_t images_of(const Shape& shape) { return shape.rank() > 0 ? shape[0] : 1; }
std::int64_t pixels_of(const Shape& shape) {
  return shape.rank() > 2 ? shape.count(2, shape.rank()) : 1;
}
std::int64_t round_up(std::int64_t value, std::int64_t step) {
  return (value + step - 1) / step * step;
}

}  // namespace

std::size_t size_of(DType dtype) noexcept {
  switch (dtype) {
    case DType::f64:
      return 8;
    case DType::f32:
    case DType::i32:
      return 4;
    case DType::f16:
      return 2;
    case DType::u8:
      return 1;
  }
  return 0;
}

std::string_view to_string(DType dtype) noexcept {
  switch (dtype) {
    case DType::f32:
      return "f32";
    case DType::f16:
      return "f16";
    case DType::f64:
      return "f64";
    case DType::u8:
      return "u8";
    case DType::i32:
      return "i32";
  }
  return "?";
}

std::string_view to_string(Precision precision) noexcept {
  switch (precision) {
    case Precision::fp32:
      return "fp32";
    case Precision::tf32:
      return "tf32";
    case Precision::fp16:
      return "fp16";
  }
  return "?";
}

std::string Layout::str() const {
  std::string text;
  switch (kind) {
    case Kind::any:
      text = "any";
      break;
    case Kind::plain:
      text = "nchw";
      break;
    case Kind::channels_last:
      text = "nhwc";
      break;
    case Kind::blocked:
      text = fmt::format("nChw{}c", block);
      break;
    case Kind::opaque:
      text = "packed";
      break;
  }
  if (is_window()) text += fmt::format("[{}]", stored_channels);
  return text;
}

std::int64_t TensorDesc::image_stride() const {
  const std::int64_t channels = layout.is_window() ? layout.stored_channels : channels_of(shape);
  return round_up(channels, layout.block) * pixels_of(shape);
}

std::int64_t TensorDesc::channel_offset(std::int64_t channel) const {
  if (layout.kind == Layout::Kind::channels_last) return channel;
  MARU_ASSERT(channel % layout.block == 0);
  return channel * pixels_of(shape);
}

std::size_t TensorDesc::bytes() const {
  if (count() == 0) return 0;
  const std::int64_t images = images_of(shape);
  std::int64_t last = round_up(channels_of(shape), layout.block) * pixels_of(shape);
  if (layout.kind == Layout::Kind::channels_last && layout.is_window()) {
    last = (pixels_of(shape) - 1) * layout.stored_channels + channels_of(shape);
  }
  return static_cast<std::size_t>((images - 1) * image_stride() + last) * size_of(dtype);
}

std::string TensorDesc::str() const {
  return fmt::format("{} {} {}", to_string(dtype), shape.str(), layout.str());
}

bool same_bytes(const Shape& shape, Layout a, Layout b) {
  if (a == b) return true;
  const auto is_known = [](Layout layout) {
    return layout.kind != Layout::Kind::any && layout.kind != Layout::Kind::opaque;
  };
  if (!is_known(a) || !is_known(b) || a.is_window() || b.is_window()) return false;
  const bool a_last = a.kind == Layout::Kind::channels_last;
  const bool b_last = b.kind == Layout::Kind::channels_last;
  const std::int64_t channels = channels_of(shape);
  // Without padding, a single pixel makes every order of channels and space the same.
  if (pixels_of(shape) == 1) return channels % a.block == 0 && channels % b.block == 0;
  return a.block == b.block && a_last == b_last;
}

}  // namespace maru
