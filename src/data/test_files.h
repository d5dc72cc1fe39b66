// For tests of data sets: photos made byte by byte, files in a folder of their own, and what errors
// say.
#pragma once

#include <gtest/gtest.h>

#include <cstdint>
#include <filesystem>
#include <fstream>
#include <stdexcept>
#include <string>
#include <string_view>

#include "base/error.h"

namespace maru::data::testing_files {

template <class F>
std::string error_of(F&& action) {
  try {
    action();
  } catch (const Error& error) {
    return error.what();
  }
  return "no error";
}

inline ::testing::AssertionResult says(const std::string& text, std::string_view part) {
  if (text.find(part) != std::string::npos) return ::testing::AssertionSuccess();
  return ::testing::AssertionFailure() << "\"" << part << "\" is not in: " << text;
}

// A folder that goes with the test; files are written with the folders that they lie in.
class Folder {
 public:
  Folder() {
    std::string pattern = (std::filesystem::temp_directory_path() / "maru-data-XXXXXX").string();
    if (::mkdtemp(pattern.data()) == nullptr) throw std::runtime_error("no folder for tests");
    path_ = pattern;
  }
  Folder(const Folder&) = delete;
  Folder& operator=(const Folder&) = delete;
  ~Folder() {
    std::error_code ignored;
    std::filesystem::remove_all(path_, ignored);
  }

  std::string write(std::string_view name, std::string_view content) const {
    const auto path = path_ / name;
    std::filesystem::create_directories(path.parent_path());
    std::ofstream(path, std::ios::binary) << content;
    return path.string();
  }
  std::string path(std::string_view name = {}) const {
    return (name.empty() ? path_ : path_ / name).string();
  }

 private:
  std::filesystem::path path_;
};

// The level of channel c (red first) at (x, y) of photo `id`.
inline std::uint8_t level(int id, int x, int y, int c) {
  return static_cast<std::uint8_t>((id * 37 + x * 11 + y * 5 + c * 61) % 256);
}

// A photo without loss: PPM.
inline std::string photo(int id, int width = 8, int height = 6) {
  std::string file = fmt::format("P6\n{} {}\n255\n", width, height);
  for (int y = 0; y < height; ++y) {
    for (int x = 0; x < width; ++x) {
      for (int c = 0; c < 3; ++c) file += static_cast<char>(level(id, x, y, c));
    }
  }
  return file;
}

}  // namespace maru::data::testing_files
