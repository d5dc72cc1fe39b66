#include "vision/image.h"

#include <algorithm>
#include <limits>
#include <memory>
#include <utility>

#include "base/error.h"
#include "vision/codec.h"

namespace maru {
namespace {

using codec::File;
using codec::Header;
using codec::RowSink;

struct Codec {
  ImageFormat format;
  bool (*recognises)(const File&);
  Header (*header)(const File&);
  void (*decode)(const File&, const RowSink&);
};

constexpr Codec kCodecs[] = {
    {ImageFormat::jpeg, codec::is_jpeg, nullptr, nullptr},  // a JpegDecoder, which keeps memory
    {ImageFormat::png, codec::is_png, codec::png_header, codec::decode_png},
    {ImageFormat::pnm, codec::is_pnm, codec::pnm_header, codec::decode_pnm},
};

// What people hand over instead of a picture that we read; `at` is the offset of the magic.
struct Stranger {
  std::size_t at;
  std::string_view magic, name;
};

constexpr Stranger kStrangers[] = {
    {0, "GIF8", "GIF"},
    {8, "WEBP", "WebP"},
    {0, "BM", "BMP"},
    {0, {"II*\0", 4}, "TIFF"},
    {0, {"MM\0*", 4}, "TIFF"},
    {4, "ftypavif", "AVIF"},
    {4, "ftypavis", "AVIF"},
    {4, "ftyphei", "HEIF"},
    {4, "ftyphev", "HEIF"},
    {4, "ftypmif1", "HEIF"},
    {4, "ftyp", "MP4 or HEIF"},
    {0, {"\0\0\0\x0CjP  ", 8}, "JPEG 2000"},
    {0, {"\0\0\0\x0CJXL ", 8}, "JPEG XL"},
    {0, "\xFF\x0A", "JPEG XL"},
    {0, "8BPS", "Photoshop"},
    {0, "v/1\x01", "OpenEXR"},
    {0, "%PDF", "PDF"},
    {0, "PK\x03\x04", "ZIP"},
    {0, "\x1F\x8B", "gzip"},
    {0, "\x93NUMPY", "NumPy array"},
    {0, "P1\n", "PBM"},
    {0, "P1 ", "PBM"},
    {0, "P4", "PBM"},
    {0, "P7", "PAM"},
    {0, "Pf", "PFM"},
    {0, "PF", "PFM"},
};

// UTF-8 without control characters; may be cut anywhere (RFC 3629, section 3, but for overlong forms).
bool is_text(std::string_view bytes) {
  int following = 0;
  for (char c : bytes) {
    const auto byte = static_cast<unsigned char>(c);
    if (following > 0) {
      if ((byte & 0xC0) != 0x80) return false;
      --following;
    } else if (byte < 0x80) {
      if (byte == 0x7F || (byte < 0x20 && (byte < '\t' || byte > '\r'))) return false;
    } else {
      if (byte < 0xC2 || byte > 0xF4) return false;
      following = byte < 0xE0 ? 1 : byte < 0xF0 ? 2 : 3;
    }
  }
  return true;
}

std::string quoted_start(std::string_view text) {
  std::string start;
  for (char c : text.substr(0, 24)) {
    const auto byte = static_cast<unsigned char>(c);
    if (byte < 0x20) break;
    start += byte < 0x7F ? c : '?';
  }
  return fmt::format("\"{}\"", start);
}

std::string describe(const File& file) {
  const std::string_view text = file.text();
  if (text.empty()) return "an empty file (0 bytes)";
  const bool readable = is_text(text.substr(0, 512));
  for (const Stranger& stranger : kStrangers) {
    if (text.size() < stranger.at || !text.substr(stranger.at).starts_with(stranger.magic)) continue;
    // Two letters are a coincidence where all that follows is text.
    if (readable && stranger.magic.size() == 2) continue;
    return fmt::format("{} (not supported)", stranger.name);
  }
  if (readable) return fmt::format("text, starting with {}", quoted_start(text));
  std::string bytes;
  for (std::byte b : file.bytes.first(std::min<std::size_t>(8, file.bytes.size()))) {
    bytes += fmt::format(" {:02x}", std::to_integer<int>(b));
  }
  return fmt::format("an unknown format, starting with the bytes{}", bytes);
}

const Codec& codec_for(const File& file) {
  for (const Codec& codec : kCodecs) {
    if (codec.recognises(file)) return codec;
  }
  throw Error(file.name, "a picture as JPEG, PNG, PPM or PGM", describe(file),
              file.bytes.empty() ? "" : "converting it to one of these");
}

// Orientation as three flips, in this order: rows, columns, then across the diagonal
// (Exif 2.32, 4.6.4).
bool reverses_rows(int orientation) {
  return orientation == 3 || orientation == 4 || orientation == 6 || orientation == 7;
}
bool reverses_columns(int orientation) {
  return orientation == 2 || orientation == 3 || orientation == 7 || orientation == 8;
}
bool transposes(int orientation) { return orientation >= 5; }

RowSink rows_of(PixelView view, bool upside_down) {
  const auto step = static_cast<std::ptrdiff_t>(view.row_bytes);
  if (!upside_down) return {view.data, view.width, view.height, step};
  return {view.row(view.height - 1), view.width, view.height, -step};
}

void reverse_columns(PixelView view) {
  for (int y = 0; y < view.height; ++y) {
    std::uint8_t* left = view.row(y);
    std::uint8_t* right = left + 3 * (static_cast<std::ptrdiff_t>(view.width) - 1);
    for (; left < right; left += 3, right -= 3) std::swap_ranges(left, left + 3, right);
  }
}

// dst(y, x) = src(x, y), in tiles that stay in the first-level cache.
void transpose(const RowSink& src, const RowSink& dst) {
  constexpr int kTile = 32;
  for (int top = 0; top < dst.height; top += kTile) {
    for (int left = 0; left < dst.width; left += kTile) {
      for (int y = top; y < std::min(top + kTile, dst.height); ++y) {
        std::uint8_t* out = dst.row(y) + 3 * static_cast<std::ptrdiff_t>(left);
        for (int x = left; x < std::min(left + kTile, dst.width); ++x, out += 3) {
          std::copy_n(src.row(x) + 3 * static_cast<std::ptrdiff_t>(y), 3, out);
        }
      }
    }
  }
}

// TIFF 6.0 numbers: of either byte order, at any offset.
class TiffReader {
 public:
  explicit TiffReader(std::span<const std::byte> bytes) : bytes_(bytes) {
    little_ = bytes.size() >= 2 && bytes[0] == std::byte{'I'};
  }
  bool holds(std::size_t at, std::size_t count) const {
    return at <= bytes_.size() && count <= bytes_.size() - at;
  }
  std::uint32_t number(std::size_t at, std::size_t count) const {
    std::uint32_t value = 0;
    for (std::size_t i = 0; i < count; ++i) {
      value = value << 8 | std::to_integer<std::uint32_t>(bytes_[at + (little_ ? count - 1 - i : i)]);
    }
    return value;
  }

 private:
  std::span<const std::byte> bytes_;
  bool little_;
};

}  // namespace

int codec::exif_orientation(std::span<const std::byte> tiff) {
  const TiffReader reader(tiff);
  if (!reader.holds(0, 8) || tiff[0] != tiff[1]) return 1;
  if ((tiff[0] != std::byte{'I'} && tiff[0] != std::byte{'M'}) || reader.number(2, 2) != 42) return 1;
  const std::size_t directory = reader.number(4, 4);
  if (!reader.holds(directory, 2)) return 1;
  const std::size_t entries = reader.number(directory, 2);
  for (std::size_t i = 0; i < entries; ++i) {
    const std::size_t entry = directory + 2 + 12 * i;  // tag, type, count, value
    if (!reader.holds(entry, 12)) return 1;
    if (reader.number(entry, 2) != 0x0112) continue;
    const std::uint32_t type = reader.number(entry + 2, 2);  // SHORT; some write a LONG
    if (type != 3 && type != 4) return 1;
    const std::uint32_t value = reader.number(entry + 8, type == 3 ? 2 : 4);
    return value >= 1 && value <= 8 ? static_cast<int>(value) : 1;
  }
  return 1;
}

Header codec::checked_size(const File& file, std::int64_t width, std::int64_t height) {
  constexpr std::int64_t kLimit = std::numeric_limits<std::int32_t>::max();
  const bool empty = width < 1 || height < 1;
  if (empty || width > kLimit || height > kLimit || width * height > kMaxImagePixels) {
    throw Error(file.name, fmt::format("a picture of 1 to {} pixels", kMaxImagePixels),
                fmt::format("{} x {}", width, height));
  }
  return {static_cast<int>(width), static_cast<int>(height), 1};
}

std::string_view name_of(ImageFormat format) {
  switch (format) {
    case ImageFormat::jpeg:
      return "JPEG";
    case ImageFormat::png:
      return "PNG";
    case ImageFormat::pnm:
      return "PPM/PGM";
  }
  return "unknown";
}

struct ImageDecoder::State {
  codec::JpegDecoder jpeg;
  const Codec* codec = nullptr;
  File file;
  Header header;

  void decode(const RowSink& sink) {
    if (codec->decode == nullptr) {
      jpeg.decode(sink);
    } else {
      codec->decode(file, sink);
    }
  }
};

ImageDecoder::ImageDecoder() : state_(std::make_unique<State>()) {}
ImageDecoder::~ImageDecoder() = default;

ImageInfo ImageDecoder::open(std::span<const std::byte> bytes, std::string_view name) {
  State& state = *state_;
  state.codec = nullptr;
  state.file = {bytes, name};
  const Codec& codec = codec_for(state.file);
  state.header = codec.header == nullptr ? state.jpeg.open(state.file) : codec.header(state.file);
  state.codec = &codec;
  ImageInfo info{state.header.width, state.header.height, codec.format, state.header.orientation,
                 state.header.is_grey};
  if (transposes(info.orientation)) std::swap(info.width, info.height);
  return info;
}

void ImageDecoder::decode(PixelView dst) {
  State& state = *state_;
  MARU_ASSERT(state.codec != nullptr);
  const auto [width, height, orientation, is_grey] = state.header;
  const int upright_width = transposes(orientation) ? height : width;
  const int upright_height = transposes(orientation) ? width : height;
  if (dst.data == nullptr || dst.width != upright_width || dst.height != upright_height ||
      dst.row_bytes < static_cast<std::size_t>(dst.width) * 3) {
    throw Error(state.file.name,
                fmt::format("memory for {} x {} pixels of 3 bytes", upright_width, upright_height),
                fmt::format("{} x {} with {} bytes per row", dst.width, dst.height, dst.row_bytes));
  }

  if (!transposes(orientation)) {
    state.decode(rows_of(dst, reverses_rows(orientation)));
    if (reverses_columns(orientation)) reverse_columns(dst);
    return;
  }
  const std::size_t row_bytes = static_cast<std::size_t>(width) * 3;
  const auto stored =
      std::make_unique_for_overwrite<std::uint8_t[]>(row_bytes * static_cast<std::size_t>(height));
  const PixelView turned{stored.get(), width, height, row_bytes};
  state.decode(rows_of(turned, reverses_rows(orientation)));
  // Columns of what is stored are rows of dst.
  transpose(rows_of(turned, false), rows_of(dst, reverses_columns(orientation)));
}

ImageInfo probe_image(std::span<const std::byte> bytes, std::string_view name) {
  return ImageDecoder().open(bytes, name);
}

void decode_image(std::span<const std::byte> bytes, std::string_view name, PixelView dst) {
  ImageDecoder decoder;
  decoder.open(bytes, name);
  decoder.decode(dst);
}

}  // namespace maru
