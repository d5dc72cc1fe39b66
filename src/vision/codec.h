// What image.cpp and the readers of the single formats share; nobody else includes this.
// A reader knows the picture as the file stores it; turning it upright is image.cpp's.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <string_view>

namespace maru::codec {

struct File {
  std::span<const std::byte> bytes;
  std::string_view name;

  bool starts_with(std::string_view magic) const { return text().substr(0, magic.size()) == magic; }
  std::string_view text() const { return {reinterpret_cast<const char*>(bytes.data()), bytes.size()}; }
};

struct Header {
  int width = 0, height = 0;  // as stored
  int orientation = 1;
  bool is_grey = false;  // one channel is stored
};

// Where the rows go as they are decoded. A negative step turns the picture upside down on the way.
struct RowSink {
  std::uint8_t* first = nullptr;
  int width = 0, height = 0;  // as stored
  std::ptrdiff_t step = 0;

  std::uint8_t* row(std::int64_t y) const { return first + y * step; }
};

// Throws Error unless 1 <= width * height <= kMaxImagePixels, both positive. Returns them as ints.
Header checked_size(const File& file, std::int64_t width, std::int64_t height);

// Orientation out of the TIFF structure that EXIF is; 1 where there is none or it is damaged.
// Exif 2.32, 4.6.2 and 4.6.4; never reads outside of `tiff`.
int exif_orientation(std::span<const std::byte> tiff);

bool is_jpeg(const File& file);
// One picture after the other, each opened, then decoded or not; what libjpeg allocated stays.
class JpegDecoder {
 public:
  struct Reader;
  JpegDecoder();
  ~JpegDecoder();
  JpegDecoder(const JpegDecoder&) = delete;
  JpegDecoder& operator=(const JpegDecoder&) = delete;

  Header open(const File& file);  // the file is read until decode() has returned
  void decode(const RowSink& sink);

 private:
  std::unique_ptr<Reader> reader_;
};

bool is_png(const File& file);
Header png_header(const File& file);
void decode_png(const File& file, const RowSink& sink);

bool is_pnm(const File& file);
Header pnm_header(const File& file);
void decode_pnm(const File& file, const RowSink& sink);

}  // namespace maru::codec
