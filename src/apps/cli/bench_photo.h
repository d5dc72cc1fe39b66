// BenchPhoto: the picture that `maru bench` runs a network on, as RGB bytes in memory of the CPU, and
// as a file for programs that are started anew.
#pragma once

#include <cstdint>
#include <filesystem>
#include <memory>
#include <optional>
#include <string>
#include <vector>

namespace maru::cli {

struct PhotoSize {
  std::int64_t width = 0, height = 0;
};

// "3840x2160". Throws UsageError.
PhotoSize photo_size(const std::string& text);

class BenchPhoto {
 public:
  // The photo of `file`, rescaled where a size is given; a synthetic one where there is no file, of
  // 640 x 480 unless a size is given. Throws Error.
  BenchPhoto(const std::filesystem::path& file, const std::optional<PhotoSize>& size);
  ~BenchPhoto();
  BenchPhoto(const BenchPhoto&) = delete;
  BenchPhoto& operator=(const BenchPhoto&) = delete;

  std::int64_t width() const { return width_; }
  std::int64_t height() const { return height_; }
  const std::vector<std::uint8_t>& pixels() const { return pixels_; }
  const std::string& text() const { return text_; }  // "cat.jpg, 480 x 360"
  // Whether the pixels are those of the file as it is: decoding it is a stage of its own.
  bool is_file() const { return is_file_; }
  // What a program started by this one finds it under: the file, or memory that is shown as one.
  std::filesystem::path path() const;

 private:
  std::filesystem::path file_;
  std::int64_t width_ = 640, height_ = 480;
  std::vector<std::uint8_t> pixels_;
  std::string text_;
  bool is_file_ = false;
  int memory_ = -1;
};

}  // namespace maru::cli
