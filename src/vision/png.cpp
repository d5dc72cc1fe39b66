// PNG through libpng. As in jpeg.cpp, libpng jumps only over plain functions without destructors, and
// the Error is thrown outside of them.
#include <png.h>

#include <csetjmp>
#include <cstdio>
#include <cstring>

#include "base/error.h"
#include "vision/codec.h"

namespace maru::codec {
namespace {

struct Reader {
  png_structp png = nullptr;
  png_infop info = nullptr;
  std::size_t position = 0;
  bool truncated = false;
  char message[160] = {};
  const File& file;
  RowSink sink;

  Reader(const File& f, const RowSink& s) : file(f), sink(s) {}
  Reader(const Reader&) = delete;
  Reader& operator=(const Reader&) = delete;
  ~Reader() { png_destroy_read_struct(&png, &info, nullptr); }
};

[[noreturn]] void fail(png_structp png, png_const_charp message) {
  auto& reader = *static_cast<Reader*>(png_get_error_ptr(png));
  std::snprintf(reader.message, sizeof reader.message, "%s", message);
  png_longjmp(png, 1);
}

void read_bytes(png_structp png, png_bytep dst, std::size_t count) {
  auto& reader = *static_cast<Reader*>(png_get_io_ptr(png));
  if (count > reader.file.bytes.size() - reader.position) {
    reader.truncated = true;
    png_error(png, "truncated");
  }
  std::memcpy(dst, reader.file.bytes.data() + reader.position, count);
  reader.position += count;
}

// 8-bit RGB out of anything; the same choices as OpenCV's.
void ask_for_rgb(png_structp png, png_infop info) {
  if (png_get_bit_depth(png, info) == 16) png_set_strip_16(png);
  const int type = png_get_color_type(png, info);
  if (type == PNG_COLOR_TYPE_PALETTE) png_set_palette_to_rgb(png);
  if (type == PNG_COLOR_TYPE_GRAY) png_set_expand_gray_1_2_4_to_8(png);
  if ((type & PNG_COLOR_MASK_COLOR) == 0) png_set_gray_to_rgb(png);
  png_set_strip_alpha(png);
}

void read_picture(Reader& reader) {
  png_structp png = reader.png;
  png_set_read_fn(png, &reader, read_bytes);
  png_read_info(png, reader.info);
  const RowSink& sink = reader.sink;
  if (png_get_image_width(png, reader.info) != static_cast<png_uint_32>(sink.width) ||
      png_get_image_height(png, reader.info) != static_cast<png_uint_32>(sink.height)) {
    png_error(png, "two headers that disagree");
  }
  ask_for_rgb(png, reader.info);
  const int passes = png_set_interlace_handling(png);
  png_read_update_info(png, reader.info);
  if (png_get_rowbytes(png, reader.info) != static_cast<std::size_t>(sink.width) * 3) {
    png_error(png, "rows that are not 8-bit RGB");
  }
  for (int pass = 0; pass < passes; ++pass) {
    for (int y = 0; y < sink.height; ++y) png_read_row(png, sink.row(y), nullptr);
  }
  png_read_end(png, nullptr);  // checksums up to the end, so that missing chunks are noticed
}

// The only frame that libpng jumps back to; no object with a destructor in here nor in read_picture.
bool guarded(Reader& reader) {
  if (setjmp(png_jmpbuf(reader.png)) != 0) return false;
  read_picture(reader);
  return true;
}

[[noreturn]] void throw_truncated(const File& file) {
  throw Error(file.name, "a whole PNG",
              fmt::format("a truncated one: it ends too early, after {} bytes", file.bytes.size()),
              "copying or downloading the file again");
}

std::uint32_t big_endian32(const File& file, std::size_t at) {
  std::uint32_t value = 0;
  for (std::size_t i = 0; i < 4; ++i)
    value = value << 8 | std::to_integer<std::uint32_t>(file.bytes[at + i]);
  return value;
}

constexpr std::string_view kSignature("\x89PNG\r\n\x1A\n", 8);
constexpr std::size_t kChunkOverhead = 12;  // length, type, checksum

// eXIf may stand before or after the picture (PNG 3rd edition, 11.3.4.5), so all chunks are looked at.
int orientation_in_chunks(const File& file) {
  const std::size_t size = file.bytes.size();
  for (std::size_t at = kSignature.size(); size - at >= kChunkOverhead;) {
    const std::size_t length = big_endian32(file, at);
    if (length > size - at - kChunkOverhead) break;
    const std::string_view type = file.text().substr(at + 4, 4);
    if (type == "eXIf") return exif_orientation(file.bytes.subspan(at + 8, length));
    if (type == "IEND") break;
    at += length + kChunkOverhead;
  }
  return 1;
}

}  // namespace

bool is_png(const File& file) { return file.starts_with(kSignature.substr(0, 4)); }

Header png_header(const File& file) {
  if (!file.starts_with(kSignature)) {
    if (file.bytes.size() < kSignature.size()) throw_truncated(file);
    throw Error(file.name, "an intact PNG", "one whose signature was changed",
                "copying it as binary: a transfer as text rewrites line ends");
  }
  constexpr std::size_t kEndOfHeader = 8 + 8 + 13 + 4;
  if (file.bytes.size() < kEndOfHeader) throw_truncated(file);
  if (file.text().substr(12, 4) != "IHDR") {
    throw Error(file.name, "a PNG that starts with its header (IHDR)", "another chunk there");
  }
  Header header = checked_size(file, big_endian32(file, 16), big_endian32(file, 20));
  header.is_grey = file.bytes[25] == std::byte{PNG_COLOR_TYPE_GRAY};
  header.orientation = orientation_in_chunks(file);
  return header;
}

void decode_png(const File& file, const RowSink& sink) {
  Reader reader(file, sink);
  reader.png =
      png_create_read_struct(PNG_LIBPNG_VER_STRING, &reader, fail, [](png_structp, png_const_charp) {});
  if (reader.png != nullptr) reader.info = png_create_info_struct(reader.png);
  if (reader.info == nullptr)
    throw Error(file.name, "libpng " PNG_LIBPNG_VER_STRING, "none that starts");
  if (guarded(reader)) return;
  if (reader.truncated) throw_truncated(file);
  throw Error(file.name, "an intact PNG", fmt::format("\"{}\" from libpng", reader.message));
}

}  // namespace maru::codec
