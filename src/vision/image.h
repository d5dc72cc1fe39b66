// Picture files -> RGB bytes, straight into memory that the caller owns (an input buffer of the plan,
// for one), whatever heap it is in: it is only written, never read, unless the file asks for a mirrored
// picture. The functions keep no state: any number of threads may decode at the same time. An
// ImageDecoder, for many pictures, is for one thread at a time.
//
// Formats: JPEG (baseline, progressive, grey, RGB, YCbCr, CMYK, YCCK), PNG (all colour types, depths
// and interlacing), PGM and PPM (P2, P3, P5, P6; maxval up to 65535). JPEG and PNG give the bytes that
// OpenCV's imread(IMREAD_COLOR) gives, in RGB order: slow-but-exact DCT and smooth chroma upsampling;
// CMYK taken as inverted, which is what Adobe and everybody after it writes; 16-bit samples cut to
// their upper byte; alpha and tRNS dropped, not composited. PGM and PPM are scaled from maxval to 255,
// rounded (OpenCV does not scale); maxval 65535 is cut to the upper byte. The EXIF orientation of JPEG
// and PNG is applied.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <string_view>

#include "vision/pixel_view.h"

namespace maru {

enum class ImageFormat { jpeg, png, pnm };

std::string_view name_of(ImageFormat format);  // "JPEG", "PNG", "PPM/PGM"

struct ImageInfo {
  int width = 0;  // of the upright picture: after the EXIF orientation
  int height = 0;
  ImageFormat format = ImageFormat::jpeg;
  int orientation = 1;   // as in EXIF, 1..8; 5..8 swap width and height of what the file stores
  bool is_grey = false;  // the file has one channel
};

// More pixels than this are refused before anything is allocated for them.
inline constexpr std::int64_t kMaxImagePixels = std::int64_t{1} << 28;

// Reads headers only. `file` is the whole file, `name` says in errors which. Throws Error when the
// format is none of the above (saying what it looks like), the header is damaged or cut off, or the
// size absurd.
ImageInfo probe_image(std::span<const std::byte> file, std::string_view name);

// Decodes into `dst`, whose size must be what probe_image said. Allocates no second picture, except for
// orientations 5..8. Throws Error as probe_image does, and when the data is truncated or damaged
// anywhere (also where libjpeg would go on with a warning and grey blocks); dst is then undefined.
// Bytes after the end of the picture are ignored.
void decode_image(std::span<const std::byte> file, std::string_view name, PixelView dst);

// The same for one picture after the other: reads each header once, and keeps what the libraries
// allocate. After an error it takes the next picture.
class ImageDecoder {
 public:
  ImageDecoder();
  ~ImageDecoder();
  ImageDecoder(const ImageDecoder&) = delete;
  ImageDecoder& operator=(const ImageDecoder&) = delete;

  // As probe_image. File and name must stay until decode() has returned, or the next open().
  ImageInfo open(std::span<const std::byte> file, std::string_view name);
  // As decode_image, once, of the picture that was opened.
  void decode(PixelView dst);

 private:
  struct State;
  std::unique_ptr<State> state_;
};

}  // namespace maru
