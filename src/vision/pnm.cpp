// PGM and PPM, plain (P2, P3) and raw (P5, P6). Format: netpbm's pgm(5) and ppm(5).
#include <array>
#include <cstring>

#include "base/error.h"
#include "vision/codec.h"

namespace maru::codec {
namespace {

bool is_space(int c) { return c == ' ' || (c >= '\t' && c <= '\r'); }

class Reader {
 public:
  explicit Reader(const File& file) : file_(file), text_(file.text()) {
    kind_ = text_[1];
    position_ = 2;
    const std::int64_t width = number("a width");
    const std::int64_t height = number("a height");
    max_ = number("a maxval");
    if (max_ < 1 || max_ > 65535)
      throw Error(file_.name, "a maxval of 1 to 65535", std::to_string(max_));
    header_ = checked_size(file_, width, height);
    header_.is_grey = channels() == 1;
    // Each sample needs a byte at least: a short file is told from its header.
    const std::size_t samples = static_cast<std::size_t>(width * height) * channels();
    if (raw() && (text_.size() - position_) / sample_bytes() < samples) throw_truncated();
    for (std::int64_t value = 0; value < 256 && value <= max_; ++value) {
      to_byte_[static_cast<std::size_t>(value)] = scaled(value);
    }
  }

  const Header& header() const { return header_; }

  void read_row(std::uint8_t* dst) {
    if (raw() && max_ == 255 && channels() == 3) {
      const std::size_t bytes = static_cast<std::size_t>(header_.width) * 3;
      std::memcpy(dst, text_.data() + position_, bytes);
      position_ += bytes;
      return;
    }
    for (int x = 0; x < header_.width; ++x, dst += 3) {
      dst[0] = sample();
      dst[1] = channels() == 3 ? sample() : dst[0];
      dst[2] = channels() == 3 ? sample() : dst[0];
    }
  }

 private:
  bool raw() const { return kind_ >= '5'; }
  std::size_t channels() const { return kind_ == '3' || kind_ == '6' ? 3 : 1; }
  std::size_t sample_bytes() const { return max_ > 255 ? 2 : 1; }

  // A comment counts as the line end that closes it. -1 at the end of the file.
  int next() {
    if (position_ == text_.size()) return -1;
    char c = text_[position_++];
    if (c == '#') {
      const std::size_t end = text_.find_first_of("\r\n", position_);
      position_ = end == std::string_view::npos ? text_.size() : end + 1;
      c = '\n';
    }
    return static_cast<unsigned char>(c);
  }

  // A number and the one white space after it, which divides a raw file's header from its pixels.
  std::int64_t number(std::string_view what) {
    int c = next();
    while (is_space(c)) c = next();
    if (c == -1) throw_truncated();
    std::int64_t value = 0;
    int digits = 0;
    for (; c >= '0' && c <= '9'; c = next(), ++digits) {
      if (digits < 12) value = value * 10 + (c - '0');
    }
    if (digits == 0 || digits > 12 || (c != -1 && !is_space(c))) {
      throw Error(file_.name, fmt::format("{} in a PPM or PGM", what),
                  fmt::format("something else before byte {}", position_));
    }
    return value;
  }

  std::uint8_t scaled(std::int64_t value) const {
    if (max_ == 65535) return static_cast<std::uint8_t>(value >> 8);
    return static_cast<std::uint8_t>((value * 255 + max_ / 2) / max_);
  }

  std::uint8_t sample() {
    std::int64_t value = 0;
    if (raw()) {
      for (std::size_t i = 0; i < sample_bytes(); ++i) {
        value = value << 8 | static_cast<unsigned char>(text_[position_++]);
      }
    } else {
      value = number("a sample");
    }
    if (value > max_) {
      throw Error(file_.name, fmt::format("samples up to the maxval of {}", max_),
                  std::to_string(value));
    }
    return value < 256 ? to_byte_[static_cast<std::size_t>(value)] : scaled(value);
  }

  [[noreturn]] void throw_truncated() const {
    throw Error(file_.name, "a whole PPM or PGM",
                fmt::format("a truncated one: it ends too early, after {} bytes", text_.size()),
                "copying or downloading the file again");
  }

  const File& file_;
  std::string_view text_;
  std::size_t position_ = 0;
  char kind_ = 0;
  std::int64_t max_ = 0;
  Header header_;
  std::array<std::uint8_t, 256> to_byte_{};
};

}  // namespace

bool is_pnm(const File& file) {
  const std::string_view text = file.text();
  return text.size() >= 3 && text[0] == 'P' &&
         (text[1] == '2' || text[1] == '3' || text[1] == '5' || text[1] == '6') &&
         (is_space(static_cast<unsigned char>(text[2])) || text[2] == '#');
}

Header pnm_header(const File& file) { return Reader(file).header(); }

void decode_pnm(const File& file, const RowSink& sink) {
  Reader reader(file);
  MARU_ASSERT(reader.header().width == sink.width && reader.header().height == sink.height);
  for (int y = 0; y < sink.height; ++y) reader.read_row(sink.row(y));
}

}  // namespace maru::codec
