// JPEG through libjpeg(-turbo). libjpeg reports errors by longjmp: everything that it may jump over
// lives in plain functions without destructors, and the Error is thrown outside of them.
#include <csetjmp>
#include <cstdio>
#include <cstring>

// jpeglib.h needs stdio before it; what jerror.h numbers depends on jpeglib.h.
// clang-format off
#include <jpeglib.h>
#include <jerror.h>
// clang-format on

#include "base/error.h"
#include "vision/codec.h"

namespace maru::codec {
namespace {

// A scan may cost nothing in bytes and a pass over the picture in time; real files have about 10.
constexpr int kMaxScans = 500;

}  // namespace

struct JpegDecoder::Reader {
  jpeg_decompress_struct jpeg{};
  jpeg_error_mgr errors{};
  jpeg_source_mgr source{};
  jpeg_progress_mgr progress{};
  std::jmp_buf escape{};
  char message[JMSG_LENGTH_MAX] = {};
  bool created = false, truncated = false;
  File file;
  RowSink sink;

  Reader() = default;
  Reader(const Reader&) = delete;
  Reader& operator=(const Reader&) = delete;
  ~Reader() { jpeg_destroy_decompress(&jpeg); }
};

namespace {

using Reader = JpegDecoder::Reader;

template <typename Common>
Reader& reader_of(Common* jpeg) {
  return *static_cast<Reader*>(jpeg->client_data);
}

[[noreturn]] void fail(j_common_ptr jpeg) {
  Reader& reader = reader_of(jpeg);
  jpeg->err->format_message(jpeg, reader.message);
  std::longjmp(reader.escape, 1);
}

[[noreturn]] void fail_truncated(Reader& reader) {
  reader.truncated = true;
  std::longjmp(reader.escape, 1);
}

// Warnings that mean wrong pixels are errors; those about oddities around the pixels are not.
void on_message(j_common_ptr jpeg, int level) {
  if (level >= 0) return;
  switch (jpeg->err->msg_code) {
    case JWRN_ARITH_BAD_CODE:
    case JWRN_HIT_MARKER:
    case JWRN_HUFF_BAD_CODE:
    case JWRN_JPEG_EOF:
    case JWRN_MUST_RESYNC:
      fail(jpeg);
    default:
      ++jpeg->err->num_warnings;
  }
}

void skip(j_decompress_ptr jpeg, long count) {
  if (count <= 0) return;
  jpeg_source_mgr& source = *jpeg->src;
  if (static_cast<std::size_t>(count) > source.bytes_in_buffer) fail_truncated(reader_of(jpeg));
  source.next_input_byte += count;
  source.bytes_in_buffer -= static_cast<std::size_t>(count);
}

void limit_scans(j_common_ptr common) {
  const auto* jpeg = reinterpret_cast<j_decompress_ptr>(common);
  if (jpeg->input_scan_number <= kMaxScans) return;
  Reader& reader = reader_of(common);
  std::snprintf(reader.message, sizeof reader.message, "more than %d scans", kMaxScans);
  std::longjmp(reader.escape, 1);
}

void create(Reader& reader) {
  jpeg_decompress_struct& jpeg = reader.jpeg;
  jpeg.client_data = &reader;  // errors of creating it find their way
  jpeg.err = jpeg_std_error(&reader.errors);
  reader.errors.error_exit = fail;
  reader.errors.emit_message = on_message;
  reader.errors.output_message = [](j_common_ptr) {};
  jpeg_create_decompress(&jpeg);  // clears all fields but these
  jpeg.client_data = &reader;

  reader.source.init_source = [](j_decompress_ptr) {};
  reader.source.fill_input_buffer = [](j_decompress_ptr j) -> boolean { fail_truncated(reader_of(j)); };
  reader.source.skip_input_data = skip;
  reader.source.resync_to_restart = jpeg_resync_to_restart;
  reader.source.term_source = [](j_decompress_ptr) {};
  jpeg.src = &reader.source;
  reader.progress.progress_monitor = limit_scans;
  jpeg.progress = &reader.progress;
  jpeg_save_markers(&jpeg, JPEG_APP0 + 1, 0xFFFF);
  reader.created = true;
}

void open(Reader& reader) {
  if (!reader.created) create(reader);
  jpeg_abort_decompress(&reader.jpeg);  // whatever became of the last picture
  reader.source.next_input_byte = reinterpret_cast<const JOCTET*>(reader.file.bytes.data());
  reader.source.bytes_in_buffer = reader.file.bytes.size();
  jpeg_read_header(&reader.jpeg, TRUE);
}

// Inverted CMYK (255: no ink) to RGB, rounded as OpenCV rounds it.
void cmyk_to_rgb(const JSAMPLE* src, std::uint8_t* dst, int width) {
  for (int x = 0; x < width; ++x, src += 4, dst += 3) {
    const int k = src[3];
    for (int c = 0; c < 3; ++c) dst[c] = static_cast<std::uint8_t>(k - ((255 - src[c]) * k >> 8));
  }
}

void read_rows(Reader& reader) {
  jpeg_decompress_struct& jpeg = reader.jpeg;
  const bool cmyk = jpeg.num_components == 4;
  jpeg.out_color_space = cmyk ? JCS_CMYK : JCS_RGB;
  jpeg_start_decompress(&jpeg);
  JSAMPARRAY inks = nullptr;
  if (cmyk) {
    inks = jpeg.mem->alloc_sarray(reinterpret_cast<j_common_ptr>(&jpeg), JPOOL_IMAGE,
                                  jpeg.output_width * 4, 1);
  }
  while (jpeg.output_scanline < jpeg.output_height) {
    JSAMPROW row = reader.sink.row(jpeg.output_scanline);
    jpeg_read_scanlines(&jpeg, cmyk ? inks : &row, 1);
    if (cmyk) cmyk_to_rgb(inks[0], row, reader.sink.width);
  }
  jpeg_finish_decompress(
      &jpeg);  // goes on to the end-of-image marker, so that a missing one is noticed
}

// The only frame that libjpeg jumps back to; no object with a destructor in here nor in `step`.
bool guarded(Reader& reader, void (*step)(Reader&)) {
  if (setjmp(reader.escape) != 0) return false;
  step(reader);
  return true;
}

void run(Reader& reader, void (*step)(Reader&)) {
  if (guarded(reader, step)) return;
  if (reader.truncated) {
    throw Error(
        reader.file.name, "a whole JPEG",
        fmt::format("a truncated one: it ends too early, after {} bytes", reader.file.bytes.size()),
        "copying or downloading the file again");
  }
  throw Error(reader.file.name, "an intact JPEG", fmt::format("\"{}\" from libjpeg", reader.message));
}

}  // namespace

bool is_jpeg(const File& file) { return file.starts_with("\xFF\xD8\xFF") || file.text() == "\xFF\xD8"; }

JpegDecoder::JpegDecoder() : reader_(std::make_unique<Reader>()) {}
JpegDecoder::~JpegDecoder() = default;

Header JpegDecoder::open(const File& file) {
  Reader& reader = *reader_;
  reader.file = file;
  reader.truncated = false;
  run(reader, codec::open);
  Header header = checked_size(file, reader.jpeg.image_width, reader.jpeg.image_height);
  header.is_grey = reader.jpeg.num_components == 1;
  constexpr std::string_view kMagic("Exif\0\0", 6);
  for (const auto* marker = reader.jpeg.marker_list; marker != nullptr; marker = marker->next) {
    if (marker->data_length <= kMagic.size()) continue;
    if (std::memcmp(marker->data, kMagic.data(), kMagic.size()) != 0) continue;
    header.orientation = exif_orientation(
        std::as_bytes(std::span(marker->data, marker->data_length)).subspan(kMagic.size()));
    break;
  }
  return header;
}

void JpegDecoder::decode(const RowSink& sink) {
  Reader& reader = *reader_;
  MARU_ASSERT(reader.jpeg.image_width == static_cast<JDIMENSION>(sink.width) &&
              reader.jpeg.image_height == static_cast<JDIMENSION>(sink.height));
  reader.sink = sink;
  run(reader, read_rows);
}

}  // namespace maru::codec
