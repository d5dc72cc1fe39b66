#include "vision/image.h"

#include <gtest/gtest.h>
#include <png.h>

#include <algorithm>
#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <optional>
#include <string>
#include <utility>
#include <vector>

// jpeglib.h needs stdio before it.
#include <jpeglib.h>

#include "base/error.h"

namespace maru {
namespace {

using Bytes = std::vector<std::uint8_t>;

// ---- pictures, and how they become files

struct Picture {
  int width = 0, height = 0;
  Bytes bytes;  // RGB without padding

  Picture(int w, int h)
      : width(w), height(h), bytes(static_cast<std::size_t>(w) * static_cast<std::size_t>(h) * 3) {}
  std::uint8_t* at(int x, int y) {
    return bytes.data() + (static_cast<std::size_t>(y) * static_cast<std::size_t>(width) +
                           static_cast<std::size_t>(x)) *
                              3;
  }
  const std::uint8_t* at(int x, int y) const { return const_cast<Picture*>(this)->at(x, y); }
  PixelView view() { return {bytes.data(), width, height, static_cast<std::size_t>(width) * 3}; }
  bool operator==(const Picture&) const = default;
};

std::uint8_t byte(double value) { return static_cast<std::uint8_t>(std::lround(value)); }

// Smooth, so that JPEG keeps it; without any symmetry, so that a wrong orientation shows.
Picture gradient(int width, int height) {
  Picture picture(width, height);
  for (int y = 0; y < height; ++y) {
    for (int x = 0; x < width; ++x) {
      const double u = (x + 0.5) / width, v = (y + 0.5) / height;
      picture.at(x, y)[0] = byte(250 * u);
      picture.at(x, y)[1] = byte(250 * v);
      picture.at(x, y)[2] = byte(20 + 100 * (1 - u) + 100 * v * v);
    }
  }
  return picture;
}

int worst_difference(const Picture& a, const Picture& b) {
  if (a.width != b.width || a.height != b.height) return 256;
  int worst = 0;
  for (std::size_t i = 0; i < a.bytes.size(); ++i)
    worst = std::max(worst, std::abs(a.bytes[i] - b.bytes[i]));
  return worst;
}

struct JpegOptions {
  int channels = 3;
  J_COLOR_SPACE in = JCS_RGB, stored = JCS_YCbCr;
  bool progressive = false, subsampled = true;
  int restart_interval = 0;
  Bytes app1 = {};
};

Bytes jpeg_file(int width, int height, Bytes samples, const JpegOptions& options) {
  jpeg_compress_struct jpeg{};
  jpeg_error_mgr errors{};
  jpeg.err = jpeg_std_error(&errors);
  jpeg_create_compress(&jpeg);
  unsigned char* memory = nullptr;
  unsigned long size = 0;
  jpeg_mem_dest(&jpeg, &memory, &size);
  jpeg.image_width = static_cast<JDIMENSION>(width);
  jpeg.image_height = static_cast<JDIMENSION>(height);
  jpeg.input_components = options.channels;
  jpeg.in_color_space = options.in;
  jpeg_set_defaults(&jpeg);
  jpeg_set_colorspace(&jpeg, options.stored);
  jpeg_set_quality(&jpeg, 95, TRUE);
  if (!options.subsampled) jpeg.comp_info[0].h_samp_factor = jpeg.comp_info[0].v_samp_factor = 1;
  if (options.progressive) jpeg_simple_progression(&jpeg);
  jpeg.restart_interval = static_cast<unsigned>(options.restart_interval);
  jpeg_start_compress(&jpeg, TRUE);
  if (!options.app1.empty()) {
    jpeg_write_marker(&jpeg, JPEG_APP0 + 1, options.app1.data(),
                      static_cast<unsigned>(options.app1.size()));
  }
  while (jpeg.next_scanline < jpeg.image_height) {
    JSAMPROW row = samples.data() + static_cast<std::size_t>(jpeg.next_scanline) *
                                        static_cast<std::size_t>(width * options.channels);
    jpeg_write_scanlines(&jpeg, &row, 1);
  }
  jpeg_finish_compress(&jpeg);
  jpeg_destroy_compress(&jpeg);
  Bytes file(memory, memory + size);
  std::free(memory);
  return file;
}

Bytes jpeg_file(const Picture& picture, const JpegOptions& options = {}) {
  return jpeg_file(picture.width, picture.height, picture.bytes, options);
}

struct PngOptions {
  int type = PNG_COLOR_TYPE_RGB, depth = 8;
  bool interlaced = false;
  std::vector<png_color> palette = {};
  Bytes palette_alpha = {};
  std::optional<png_color_16> transparent = {};
};

// rows: as PNG stores them (big-endian 16-bit samples, packed bits).
Bytes png_file(int width, int height, Bytes rows, const PngOptions& options = {}) {
  png_structp png = png_create_write_struct(PNG_LIBPNG_VER_STRING, nullptr, nullptr, nullptr);
  png_infop info = png_create_info_struct(png);
  Bytes file;
  png_set_write_fn(
      png, &file,
      [](png_structp p, png_bytep data, std::size_t size) {
        auto& out = *static_cast<Bytes*>(png_get_io_ptr(p));
        out.insert(out.end(), data, data + size);
      },
      nullptr);
  png_set_IHDR(png, info, static_cast<png_uint_32>(width), static_cast<png_uint_32>(height),
               options.depth, options.type,
               options.interlaced ? PNG_INTERLACE_ADAM7 : PNG_INTERLACE_NONE,
               PNG_COMPRESSION_TYPE_DEFAULT, PNG_FILTER_TYPE_DEFAULT);
  if (!options.palette.empty()) {
    png_set_PLTE(png, info, options.palette.data(), static_cast<int>(options.palette.size()));
  }
  if (!options.palette_alpha.empty()) {
    png_set_tRNS(png, info, options.palette_alpha.data(),
                 static_cast<int>(options.palette_alpha.size()), nullptr);
  }
  if (options.transparent) png_set_tRNS(png, info, nullptr, 0, &*options.transparent);
  png_write_info(png, info);
  const std::size_t row_bytes = png_get_rowbytes(png, info);
  EXPECT_EQ(rows.size(), row_bytes * static_cast<std::size_t>(height));
  std::vector<png_bytep> pointers;
  for (int y = 0; y < height; ++y)
    pointers.push_back(rows.data() + static_cast<std::size_t>(y) * row_bytes);
  png_write_image(png, pointers.data());
  png_write_end(png, info);
  png_destroy_write_struct(&png, &info);
  return file;
}

Bytes png_file(const Picture& picture, bool interlaced = false) {
  return png_file(picture.width, picture.height, picture.bytes, {.interlaced = interlaced});
}

void append(Bytes& bytes, std::uint32_t value, int count, bool little = false) {
  for (int i = 0; i < count; ++i) {
    bytes.push_back(static_cast<std::uint8_t>(value >> (8 * (little ? i : count - 1 - i))));
  }
}

// The TIFF structure of EXIF: one other tag, then the orientation.
Bytes exif(std::uint32_t orientation, bool little = true, std::uint32_t type = 3) {
  Bytes tiff = little ? Bytes{'I', 'I'} : Bytes{'M', 'M'};
  append(tiff, 42, 2, little);
  append(tiff, 10, 4, little);
  append(tiff, 0, 2);  // the directory may stand anywhere
  append(tiff, 2, 2, little);
  for (const auto& [tag, value] :
       {std::pair<std::uint32_t, std::uint32_t>(0x0100, 7), {0x0112, orientation}}) {
    append(tiff, tag, 2, little);
    append(tiff, type, 2, little);
    append(tiff, 1, 4, little);
    append(tiff, value, type == 3 ? 2 : 4, little);
    if (type == 3) append(tiff, 0, 2);
  }
  append(tiff, 0, 4);
  return tiff;
}

Bytes app1_of(const Bytes& tiff) {
  Bytes app1 = {'E', 'x', 'i', 'f', 0, 0};
  app1.insert(app1.end(), tiff.begin(), tiff.end());
  return app1;
}

// A PNG with a chunk put in before the one named.
Bytes with_chunk(Bytes png, std::string_view before, std::string_view type, const Bytes& data) {
  Bytes chunk;
  append(chunk, static_cast<std::uint32_t>(data.size()), 4);
  chunk.insert(chunk.end(), type.begin(), type.end());
  chunk.insert(chunk.end(), data.begin(), data.end());
  std::uint32_t crc = 0xFFFFFFFF;  // PNG 3rd edition, annex D
  for (std::size_t i = 4; i < chunk.size(); ++i) {
    crc ^= chunk[i];
    for (int bit = 0; bit < 8; ++bit) crc = (crc & 1) != 0 ? 0xEDB88320 ^ crc >> 1 : crc >> 1;
  }
  append(chunk, ~crc, 4);
  const auto at = std::search(png.begin(), png.end(), before.begin(), before.end()) - 4;
  png.insert(at, chunk.begin(), chunk.end());
  return png;
}

Bytes text_bytes(std::string_view text) { return Bytes(text.begin(), text.end()); }

// ---- decoding

ImageInfo probe(const Bytes& file) { return probe_image(std::as_bytes(std::span(file)), "test"); }

// Into rows with padding, which must stay as it was.
Picture decode(const Bytes& file) {
  const ImageInfo info = probe(file);
  Picture picture(info.width, info.height);
  const std::size_t used = static_cast<std::size_t>(info.width) * 3, row_bytes = used + 5;
  Bytes padded(row_bytes * static_cast<std::size_t>(info.height), 0xA5);
  decode_image(std::as_bytes(std::span(file)), "test",
               {padded.data(), info.width, info.height, row_bytes});
  for (int y = 0; y < info.height; ++y) {
    const auto row = padded.begin() + static_cast<std::ptrdiff_t>(row_bytes) * y;
    std::copy_n(row, used, picture.at(0, y));
    EXPECT_EQ(std::count(row + static_cast<std::ptrdiff_t>(used),
                         row + static_cast<std::ptrdiff_t>(row_bytes), 0xA5),
              5);
  }
  return picture;
}

// What the Error says; empty where there was none. Anything else than an Error fails the test.
std::string error_of(const Bytes& file) {
  try {
    const ImageInfo info = probe(file);
    if (std::int64_t{info.width} * info.height > 1 << 20) return "too large for a test";
    decode(file);
  } catch (const Error& error) {
    return error.what();
  }
  return "";
}

bool contains(const std::string& text, std::string_view part) {
  return text.find(part) != std::string::npos;
}

#define EXPECT_ERROR(file, part) EXPECT_PRED2(contains, error_of(file), part)

// What a viewer shows of `stored`, straight from the table in Exif 2.32, 4.6.4.
Picture upright(const Picture& stored, int orientation) {
  const int w = stored.width, h = stored.height;
  Picture result(orientation >= 5 ? h : w, orientation >= 5 ? w : h);
  for (int y = 0; y < result.height; ++y) {
    for (int x = 0; x < result.width; ++x) {
      const std::pair<int, int> from[] = {
          {x, y}, {w - 1 - x, y}, {w - 1 - x, h - 1 - y}, {x, h - 1 - y},
          {y, x}, {y, h - 1 - x}, {w - 1 - y, h - 1 - x}, {w - 1 - y, x}};
      const auto [sx, sy] = from[orientation - 1];
      std::copy_n(stored.at(sx, sy), 3, result.at(x, y));
    }
  }
  return result;
}

// ---- JPEG

TEST(Jpeg, ComesBackAsItWasSaved) {
  for (const auto& [width, height] : {std::pair(1, 1), {7, 3}, {64, 48}, {65, 33}, {200, 17}}) {
    const Picture picture = gradient(width, height);
    for (bool progressive : {false, true}) {
      for (bool subsampled : {false, true}) {
        const Bytes file = jpeg_file(picture, {.progressive = progressive, .subsampled = subsampled});
        const ImageInfo info = probe(file);
        EXPECT_EQ(info.width, width);
        EXPECT_EQ(info.height, height);
        EXPECT_EQ(name_of(info.format), "JPEG");
        EXPECT_EQ(info.orientation, 1);
        EXPECT_LE(worst_difference(decode(file), picture), std::min(width, height) > 16 ? 8 : 60);
      }
    }
  }
}

TEST(Jpeg, StoredAsRgb) {
  const Picture picture = gradient(40, 30);
  EXPECT_LE(worst_difference(decode(jpeg_file(picture, {.stored = JCS_RGB})), picture), 4);
}

TEST(Jpeg, GreyBecomesThreeEqualChannels) {
  Bytes samples;
  for (int i = 0; i < 32 * 20; ++i) samples.push_back(static_cast<std::uint8_t>(i % 32 * 8));
  const Picture picture =
      decode(jpeg_file(32, 20, samples, {.channels = 1, .in = JCS_GRAYSCALE, .stored = JCS_GRAYSCALE}));
  for (int y = 0; y < 20; ++y) {
    for (int x = 0; x < 32; ++x) {
      const std::uint8_t* pixel = picture.at(x, y);
      EXPECT_NEAR(pixel[0], x * 8, 3);
      EXPECT_TRUE(pixel[0] == pixel[1] && pixel[1] == pixel[2]);
    }
  }
}

TEST(Jpeg, CmykAndYcckAreInverted) {
  for (J_COLOR_SPACE stored : {JCS_CMYK, JCS_YCCK}) {
    for (const auto& [inks, rgb] : {std::pair<Bytes, Bytes>({255, 255, 255, 255}, {255, 255, 255}),
                                    {{255, 255, 255, 0}, {0, 0, 0}},
                                    {{0, 255, 255, 255}, {0, 255, 255}},
                                    {{255, 0, 255, 255}, {255, 0, 255}},
                                    {{200, 100, 50, 128}, {100, 50, 25}}}) {
      Bytes samples;
      for (int i = 0; i < 16 * 9; ++i) samples.insert(samples.end(), inks.begin(), inks.end());
      const Picture picture =
          decode(jpeg_file(16, 9, samples, {.channels = 4, .in = JCS_CMYK, .stored = stored}));
      for (std::size_t i = 0; i < picture.bytes.size(); ++i)
        EXPECT_NEAR(picture.bytes[i], rgb[i % 3], 4);
    }
  }
}

TEST(Jpeg, EveryOrientation) {
  const Picture picture = gradient(37, 70);
  const Picture stored = decode(jpeg_file(picture));
  for (std::uint32_t orientation = 1; orientation <= 8; ++orientation) {
    for (bool little : {false, true}) {
      for (std::uint32_t type : {3, 4}) {
        const Bytes file = jpeg_file(picture, {.app1 = app1_of(exif(orientation, little, type))});
        EXPECT_EQ(probe(file).orientation, static_cast<int>(orientation));
        EXPECT_EQ(decode(file), upright(stored, static_cast<int>(orientation))) << orientation;
      }
    }
  }
}

TEST(Jpeg, DamagedExifMeansUpright) {
  const Picture picture = gradient(20, 9);
  const Picture stored = decode(jpeg_file(picture));
  const Bytes good = exif(6);
  const auto orientation_of = [&](const Bytes& tiff) {
    return probe(jpeg_file(picture, {.app1 = app1_of(tiff)})).orientation;
  };
  for (std::size_t size = 0; size + 8 < good.size(); ++size) {  // the last 6 bytes are not needed
    EXPECT_EQ(orientation_of(Bytes(good.begin(), good.begin() + static_cast<std::ptrdiff_t>(size))), 1);
  }
  for (std::uint32_t bad : {0u, 9u, 65535u}) EXPECT_EQ(orientation_of(exif(bad)), 1);
  EXPECT_EQ(orientation_of(exif(6, true, 2)), 1);
  Bytes far = good;
  far[4] = far[5] = far[6] = far[7] = 0xFF;
  EXPECT_EQ(orientation_of(far), 1);
  Bytes mixed = good;
  mixed[1] = 'M';
  EXPECT_EQ(orientation_of(mixed), 1);
  EXPECT_EQ(decode(jpeg_file(picture, {.app1 = text_bytes("http://ns.adobe.com/xap/1.0/ <x/>")})),
            stored);
}

TEST(Jpeg, EveryPrefixIsTruncated) {
  for (bool progressive : {false, true}) {
    for (int restart_interval : {0, 2}) {
      const Bytes file = jpeg_file(
          gradient(40, 33),
          {.progressive = progressive, .restart_interval = restart_interval, .app1 = app1_of(exif(6))});
      testing::internal::CaptureStderr();
      for (std::size_t size = 2; size < file.size(); ++size) {
        const Bytes cut(file.begin(), file.begin() + static_cast<std::ptrdiff_t>(size));
        EXPECT_ERROR(cut, "truncated") << size;
      }
      EXPECT_EQ(testing::internal::GetCapturedStderr(), "");
      EXPECT_EQ(error_of(file), "");
    }
  }
}

TEST(Jpeg, DamageInsideIsAnError) {
  Bytes file = jpeg_file(gradient(64, 64), {.restart_interval = 1});
  const std::size_t middle = file.size() / 2;
  for (std::size_t i = middle; i < middle + 40; ++i) file[i] = 0x7F;
  EXPECT_ERROR(file, "libjpeg");
}

TEST(Jpeg, CutAndClosedIsAnError) {
  Bytes file = jpeg_file(gradient(64, 64));
  file.resize(file.size() * 3 / 4);
  append(file, 0xFFD9, 2);
  EXPECT_ERROR(file, "premature end");
}

TEST(Jpeg, AbsurdSizeIsRefused) {
  Bytes file = jpeg_file(gradient(16, 16));
  constexpr std::uint8_t frame[] = {0xFF, 0xC0};
  const auto at = std::search(file.begin(), file.end(), std::begin(frame), std::end(frame)) + 5;
  std::fill_n(at, 4, std::uint8_t{0xFD});
  EXPECT_ERROR(file, "65021 x 65021");
}

// ---- PNG

TEST(Png, ComesBackAsItWasSaved) {
  for (const auto& [width, height] : {std::pair(1, 1), {1, 9}, {7, 3}, {33, 20}}) {
    for (bool interlaced : {false, true}) {
      const Picture picture = gradient(width, height);
      const Bytes file = png_file(picture, interlaced);
      EXPECT_EQ(decode(file), picture);
      EXPECT_EQ(name_of(probe(file).format), "PNG");
    }
  }
}

TEST(Png, SixteenBitsKeepTheUpperByte) {
  const Bytes rgb = {1, 255, 2, 0, 3, 128, 255, 255, 0, 255, 9, 9};
  EXPECT_EQ(decode(png_file(2, 1, rgb, {.depth = 16})).bytes, (Bytes{1, 2, 3, 255, 0, 9}));
  const Bytes grey = {1, 255, 200, 0};
  EXPECT_EQ(decode(png_file(2, 1, grey, {.type = PNG_COLOR_TYPE_GRAY, .depth = 16})).bytes,
            (Bytes{1, 1, 1, 200, 200, 200}));
  const Bytes rgba = {1, 0, 2, 0, 3, 0, 0, 1};
  EXPECT_EQ(decode(png_file(1, 1, rgba, {.type = PNG_COLOR_TYPE_RGBA, .depth = 16})).bytes,
            (Bytes{1, 2, 3}));
}

TEST(Png, AlphaIsDropped) {
  EXPECT_EQ(decode(png_file(2, 1, {1, 2, 3, 0, 4, 5, 6, 128}, {.type = PNG_COLOR_TYPE_RGBA})).bytes,
            (Bytes{1, 2, 3, 4, 5, 6}));
  EXPECT_EQ(decode(png_file(2, 1, {7, 0, 9, 255}, {.type = PNG_COLOR_TYPE_GRAY_ALPHA})).bytes,
            (Bytes{7, 7, 7, 9, 9, 9}));
  EXPECT_EQ(decode(png_file(1, 1, {1, 2, 3}, {.transparent = png_color_16{0, 1, 2, 3, 0}})).bytes,
            (Bytes{1, 2, 3}));
  EXPECT_EQ(decode(png_file(1, 1, {7},
                            {.type = PNG_COLOR_TYPE_GRAY, .transparent = png_color_16{0, 0, 0, 0, 7}}))
                .bytes,
            (Bytes{7, 7, 7}));
}

TEST(Png, PaletteAndFewBits) {
  const std::vector<png_color> palette = {{10, 20, 30}, {40, 50, 60}, {70, 80, 90}, {1, 2, 3}};
  const Bytes expected = {70, 80, 90, 10, 20, 30, 40, 50, 60};
  for (const Bytes& alpha : {Bytes{}, Bytes{0, 128}}) {
    PngOptions options{.type = PNG_COLOR_TYPE_PALETTE, .palette = palette, .palette_alpha = alpha};
    EXPECT_EQ(decode(png_file(3, 1, {2, 0, 1}, options)).bytes, expected);
    options.depth = 2;
    EXPECT_EQ(decode(png_file(3, 1, {0b10000100}, options)).bytes, expected);
  }
  EXPECT_EQ(decode(png_file(3, 1, {0b10100000}, {.type = PNG_COLOR_TYPE_GRAY, .depth = 1})).bytes,
            (Bytes{255, 255, 255, 0, 0, 0, 255, 255, 255}));
  EXPECT_EQ(decode(png_file(2, 1, {0x3F}, {.type = PNG_COLOR_TYPE_GRAY, .depth = 4})).bytes,
            (Bytes{51, 51, 51, 255, 255, 255}));
}

TEST(Png, EveryOrientationBeforeAndAfterThePicture) {
  const Picture picture = gradient(37, 70);
  for (std::uint32_t orientation = 1; orientation <= 8; ++orientation) {
    for (bool interlaced : {false, true}) {
      for (const char* before : {"IDAT", "IEND"}) {
        const Bytes file = with_chunk(png_file(picture, interlaced), before, "eXIf", exif(orientation));
        EXPECT_EQ(probe(file).orientation, static_cast<int>(orientation));
        EXPECT_EQ(decode(file), upright(picture, static_cast<int>(orientation))) << orientation;
      }
    }
  }
}

TEST(Png, EveryPrefixIsTruncated) {
  for (bool interlaced : {false, true}) {
    const Bytes file = with_chunk(png_file(gradient(20, 11), interlaced), "IDAT", "eXIf", exif(6));
    testing::internal::CaptureStderr();
    for (std::size_t size = 4; size < file.size(); ++size) {
      const Bytes cut(file.begin(), file.begin() + static_cast<std::ptrdiff_t>(size));
      EXPECT_ERROR(cut, "truncated") << size;
    }
    EXPECT_EQ(testing::internal::GetCapturedStderr(), "");
    EXPECT_EQ(error_of(file), "");
  }
}

TEST(Png, DamageIsAnError) {
  const Bytes good = png_file(gradient(20, 11));
  Bytes file = good;
  file[good.size() / 2] ^= 0x10;
  EXPECT_ERROR(file, "libpng");
  file = good;
  file[4] = '\n';
  EXPECT_ERROR(file, "signature");
  file = good;
  file[16] = 0x7F;
  EXPECT_ERROR(file, "2130706452 x 11");
  file = good;
  file[19] = 21;  // the checksum of the header no longer fits
  EXPECT_ERROR(file, "libpng");
}

// ---- PGM and PPM

TEST(Pnm, PlainAndRaw) {
  EXPECT_EQ(decode(text_bytes("P2 3 1 255 0 128 255")).bytes,
            (Bytes{0, 0, 0, 128, 128, 128, 255, 255, 255}));
  EXPECT_EQ(decode(text_bytes("P3\n1 2\n255\n1 2 3\n4 5 6\n")).bytes, (Bytes{1, 2, 3, 4, 5, 6}));
  EXPECT_EQ(decode(text_bytes("P5\n2 1\n255\nAB")).bytes, (Bytes{'A', 'A', 'A', 'B', 'B', 'B'}));
  EXPECT_EQ(decode(text_bytes("P6\n2 1\n255\nABCDEF")).bytes, text_bytes("ABCDEF"));
  EXPECT_EQ(name_of(probe(text_bytes("P6\n2 1\n255\nABCDEF")).format), "PPM/PGM");
  const Picture picture = gradient(31, 8);
  Bytes file = text_bytes("P6 31 8 255\n");
  file.insert(file.end(), picture.bytes.begin(), picture.bytes.end());
  EXPECT_EQ(decode(file), picture);
}

TEST(Pnm, CommentsAnywhereInTheHeader) {
  EXPECT_EQ(decode(text_bytes("P5#one\n# two\n2#three\n 1 # four\n255# five\nAB")).bytes,
            text_bytes("AAABBB"));
  EXPECT_EQ(decode(text_bytes("P2\n# c\n1 1\n255\n# c\n7")).bytes, (Bytes{7, 7, 7}));
  EXPECT_EQ(decode(text_bytes("P5 1 1 255\n#")).bytes, text_bytes("###"));  // a pixel, not a comment
}

TEST(Pnm, OtherMaxvalsAreScaled) {
  EXPECT_EQ(decode(text_bytes("P2 4 1 100 0 50 99 100")).bytes[3], 128);
  EXPECT_EQ(decode(text_bytes("P2 4 1 100 0 50 99 100")).bytes[9], 255);
  EXPECT_EQ(decode(text_bytes("P2 3 1 1000 0 500 1000")).bytes,
            (Bytes{0, 0, 0, 128, 128, 128, 255, 255, 255}));
  EXPECT_EQ(decode(text_bytes("P2 2 1 1 0 1")).bytes, (Bytes{0, 0, 0, 255, 255, 255}));
  Bytes wide = text_bytes("P6 1 1 65535\n");
  wide.insert(wide.end(), {1, 255, 2, 0, 255, 255});
  EXPECT_EQ(decode(wide).bytes, (Bytes{1, 2, 255}));
  Bytes ten_bits = text_bytes("P5 2 1 1023\n");
  ten_bits.insert(ten_bits.end(), {3, 255, 2, 0});
  EXPECT_EQ(decode(ten_bits).bytes, (Bytes{255, 255, 255, 128, 128, 128}));
}

TEST(Pnm, WhatIsWrongIsAnError) {
  EXPECT_ERROR(text_bytes("P5 2 2 255\nABC"), "truncated");
  EXPECT_ERROR(text_bytes("P6 2 1 65535\nABCDEF"), "truncated");
  EXPECT_ERROR(text_bytes("P3 1 1 255 1 2"), "truncated");
  EXPECT_ERROR(text_bytes("P5 2"), "truncated");
  EXPECT_ERROR(text_bytes("P5 2 x 255\nAB"), "a height");
  EXPECT_ERROR(text_bytes("P5 -2 2 255\nAB"), "a width");
  EXPECT_ERROR(text_bytes("P5 2 1 0\nAB"), "maxval");
  EXPECT_ERROR(text_bytes("P5 2 1 65536\nAB"), "maxval");
  EXPECT_ERROR(text_bytes("P5 2 1 4294967551\nAB"), "maxval");
  EXPECT_ERROR(text_bytes("P5 0 1 255\n"), "0 x 1");
  EXPECT_ERROR(text_bytes("P5 99999999999 99999999999 255\n"), "99999999999 x 99999999999");
  EXPECT_ERROR(text_bytes("P5 99999999999999999999999 1 255\n"), "a width");
  EXPECT_ERROR(text_bytes("P5 65536 65536 255\n"), "65536 x 65536");
  EXPECT_ERROR(text_bytes("P5 16000 16000 255\n"), "truncated");
  EXPECT_ERROR(text_bytes("P2 1 1 255 256"), "256");
  EXPECT_ERROR(text_bytes("P5 1 1 60\nA"), "65");
}

// ---- everything else

TEST(Image, NamesWhatItDoesNotRead) {
  EXPECT_ERROR(Bytes{}, "0 bytes");
  EXPECT_ERROR(text_bytes("name: \"GoogLeNet\"\nlayer {"),
               "text, starting with \"name: \"GoogLeNet\"\"");
  EXPECT_ERROR(text_bytes("사진이 아니다"), "text");
  EXPECT_ERROR(text_bytes("BMW is a car"), "text");
  EXPECT_ERROR(text_bytes("GIF89a\x01"), "GIF (not supported)");
  EXPECT_ERROR(text_bytes(std::string_view("RIFF\x10\0\0\0WEBPVP8 ", 16)), "WebP (not supported)");
  EXPECT_ERROR(text_bytes(std::string_view("BM\x10\0\0\0", 6)), "BMP (not supported)");
  EXPECT_ERROR(text_bytes(std::string_view("II*\0", 4)), "TIFF (not supported)");
  EXPECT_ERROR(text_bytes(std::string_view("\0\0\0\x1C"
                                           "ftypheic",
                                           12)),
               "HEIF (not supported)");
  EXPECT_ERROR(text_bytes("P1\n1 1\n0"), "PBM (not supported)");
  EXPECT_ERROR((Bytes{0xFF}), "unknown format, starting with the bytes ff");
  EXPECT_ERROR((Bytes{0, 1, 2, 3, 4, 5, 6, 7, 8, 9}), "bytes 00 01 02 03 04 05 06 07");
  EXPECT_ERROR((Bytes{0}), "JPEG, PNG, PPM or PGM");
}

TEST(Image, WantsMemoryOfTheRightSize) {
  const Bytes file = jpeg_file(gradient(20, 10), {.app1 = app1_of(exif(6))});
  Bytes memory(600);
  const auto decode_into = [&](PixelView view) {
    decode_image(std::as_bytes(std::span(file)), "test", view);
  };
  EXPECT_NO_THROW(decode_into({memory.data(), 10, 20, 30}));
  EXPECT_THROW(decode_into({memory.data(), 20, 10, 60}), Error);
  EXPECT_THROW(decode_into({memory.data(), 10, 20, 29}), Error);
  EXPECT_THROW(decode_into({nullptr, 10, 20, 30}), Error);
}

TEST(Image, IgnoresWhatFollows) {
  const Picture picture = gradient(20, 20);
  for (Bytes file : {jpeg_file(picture), png_file(picture), text_bytes("P5 2 1 255\nAB")}) {
    const Picture alone = decode(file);
    const Bytes more = text_bytes("\xFF\xD8 garbage");
    file.insert(file.end(), more.begin(), more.end());
    EXPECT_EQ(decode(file), alone);
  }
}

// Damage at every byte: an Error or a picture, never a crash, an exit or a word on stderr. (For
// sanitizers.)
TEST(Image, SurvivesDamageAtEveryByte) {
  const Picture picture = gradient(19, 17);
  const Bytes files[] = {jpeg_file(picture, {.app1 = app1_of(exif(7))}),
                         jpeg_file(picture, {.progressive = true, .restart_interval = 1}),
                         with_chunk(png_file(picture, true), "IDAT", "eXIf", exif(5)),
                         text_bytes("P3 2 2 255 1 2 3 4 5 6 7 8 9 10 11 12"),
                         text_bytes("P5 2 2 1000\nABCDEFGH")};
  testing::internal::CaptureStderr();
  for (const Bytes& file : files) {
    for (std::size_t i = 0; i < file.size(); ++i) {
      for (int change : {0x01, 0x80, 0xFF}) {
        Bytes damaged = file;
        damaged[i] = static_cast<std::uint8_t>(damaged[i] ^ change);
        error_of(damaged);
        damaged.resize(i + 1);
        error_of(damaged);
      }
    }
  }
  EXPECT_EQ(testing::internal::GetCapturedStderr(), "");
}

TEST(Image, SurvivesGarbageAfterTheHeader) {
  for (std::string_view start :
       {"\xFF\xD8\xFF\xE1", "\xFF\xD8\xFF\xC0", "\x89PNG\r\n\x1A\n", "P6 9", "P3 9 9 255 "}) {
    std::uint32_t random = 1;
    for (int round = 0; round < 200; ++round) {
      Bytes file = text_bytes(start);
      for (int i = 0; i < 200; ++i) {
        random = random * 1664525 + 1013904223;
        file.push_back(static_cast<std::uint8_t>(random >> 24));
      }
      EXPECT_NE(error_of(file), "");
    }
  }
}

// Whatever became of the picture before: decoded, only opened, or damaged in its header or its data.
TEST(ImageDecoder, TakesOnePictureAfterTheOther) {
  const Picture picture = gradient(19, 13);
  const Bytes plain = jpeg_file(picture), progressive = jpeg_file(picture, {.progressive = true});
  Bytes cut = plain, headless = plain;
  cut.resize(cut.size() - 40);
  headless.resize(30);
  ImageDecoder decoder;
  for (const Bytes& file : {plain, cut, progressive, headless, plain, text_bytes("P5 1 1 255\nA"),
                            plain, text_bytes("no picture"), progressive, cut, plain}) {
    const auto bytes = std::as_bytes(std::span(file));
    decoder.open(std::as_bytes(std::span(plain)), "only opened");
    const auto decode = [&](auto&& way) {
      Picture got(19, 13);
      std::string error;
      try {
        way(got);
      } catch (const Error& caught) {
        error = caught.what();
      }
      return std::pair(error, error.empty() ? got : Picture(1, 1));
    };
    const auto kept = decode([&](Picture& got) {
      const ImageInfo info = decoder.open(bytes, "file");
      got = Picture(info.width, info.height);
      decoder.decode(got.view());
    });
    const auto anew = decode([&](Picture& got) {
      const ImageInfo info = probe_image(bytes, "file");
      got = Picture(info.width, info.height);
      decode_image(bytes, "file", got.view());
    });
    EXPECT_EQ(kept.first, anew.first);
    EXPECT_TRUE(kept.second == anew.second);
  }
}

}  // namespace
}  // namespace maru
