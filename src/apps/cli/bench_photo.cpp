#include "apps/cli/bench_photo.h"

#include <sys/mman.h>
#include <unistd.h>

#include <cerrno>
#include <charconv>
#include <cmath>
#include <utility>

#include "apps/cli/command_line.h"
#include "base/error.h"
#include "base/mapped_file.h"
#include "vision/image.h"
#include "vision/resize.h"

namespace maru::cli {
namespace {

PixelView view_of(std::vector<std::uint8_t>& pixels, std::int64_t width, std::int64_t height) {
  pixels.resize(static_cast<std::size_t>(width * height * 3));
  return {pixels.data(), static_cast<int>(width), static_cast<int>(height),
          static_cast<std::size_t>(width) * 3};
}

// Soft colours with some structure, the same on every machine: integers alone.
void paint(std::vector<std::uint8_t>& pixels, std::int64_t width, std::int64_t height) {
  const PixelView view = view_of(pixels, width, height);
  for (int y = 0; y < view.height; ++y) {
    std::uint8_t* at = view.row(y);
    for (int x = 0; x < view.width; ++x, at += 3) {
      const int across = x * 255 / view.width, down = y * 255 / view.height;
      const auto grain = static_cast<int>(
          (static_cast<unsigned>(x) * 2654435761U ^ static_cast<unsigned>(y) * 2246822519U) >> 29);
      at[0] = static_cast<std::uint8_t>(across * 7 / 8 + grain);
      at[1] = static_cast<std::uint8_t>(down * 7 / 8 + grain);
      at[2] = static_cast<std::uint8_t>((across ^ down) * 7 / 8 + grain);
    }
  }
}

// A file without a name, that a program started from here can open.
int file_in_memory(const std::string& head, const std::vector<std::uint8_t>& body) {
  const int file = ::memfd_create("maru_bench_photo", 0);
  if (file < 0) throw system_error("--size", "memory for the photo");
  for (const auto& [data, size] :
       {std::pair<const void*, std::size_t>{head.data(), head.size()}, {body.data(), body.size()}}) {
    for (std::size_t done = 0; done < size;) {
      const ssize_t more = ::write(file, static_cast<const char*>(data) + done, size - done);
      if (more < 0 && errno == EINTR) continue;
      if (more <= 0) {
        const int reason = errno;
        ::close(file);
        errno = reason;
        throw system_error("--size", "memory for the photo");
      }
      done += static_cast<std::size_t>(more);
    }
  }
  return file;
}

}  // namespace

PhotoSize photo_size(const std::string& text) {
  PhotoSize size;
  const char* const end = text.data() + text.size();
  const auto [cross, bad] = std::from_chars(text.data(), end, size.width);
  if (bad == std::errc() && cross != end && *cross == 'x') {
    const auto [last, worse] = std::from_chars(cross + 1, end, size.height);
    if (worse == std::errc() && last == end && size.width > 0 && size.height > 0 &&
        size.width <= kMaxImagePixels / size.height)
      return size;
  }
  throw UsageError("--size", fmt::format("WIDTHxHEIGHT, of 1 to {} pixels", kMaxImagePixels),
                   fmt::format("\"{}\"", text), "--size 3840x2160");
}

BenchPhoto::BenchPhoto(const std::filesystem::path& file, const std::optional<PhotoSize>& size) {
  if (size) {
    width_ = size->width;
    height_ = size->height;
  }
  if (file.empty()) {
    paint(pixels_, width_, height_);
    text_ = fmt::format("synthetic, {} x {}", width_, height_);
  } else {
    const MappedFile mapped(file);
    const ImageInfo info = probe_image(mapped.bytes(), file.string());
    std::vector<std::uint8_t> decoded;
    const PixelView own = view_of(decoded, info.width, info.height);
    decode_image(mapped.bytes(), file.string(), own);
    is_file_ = !size || (size->width == info.width && size->height == info.height);
    text_ = fmt::format("{}, {} x {}", file.filename().string(), info.width, info.height);
    if (is_file_) {
      width_ = info.width;
      height_ = info.height;
      pixels_ = std::move(decoded);
      file_ = file;
      return;
    }
    resize_bilinear(own, view_of(pixels_, width_, height_));
    text_ += fmt::format(", rescaled to {} x {}", width_, height_);
  }
  memory_ = file_in_memory(fmt::format("P6\n{} {}\n255\n", width_, height_), pixels_);
}

BenchPhoto::~BenchPhoto() {
  if (memory_ >= 0) ::close(memory_);
}

std::filesystem::path BenchPhoto::path() const {
  return is_file_ ? file_ : std::filesystem::path(fmt::format("/proc/self/fd/{}", memory_));
}

}  // namespace maru::cli
