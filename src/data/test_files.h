// For tests of data sets: photos made byte by byte, files in a folder of their own, and what errors
// say.
#pragma once

#include <gtest/gtest.h>

#include <cstdint>
#include <string>
#include <string_view>

#include "tests/files.h"

namespace maru::data::testing_files {

using testing::error_of;
using testing::Folder;

inline ::testing::AssertionResult says(const std::string& text, std::string_view part) {
  if (text.find(part) != std::string::npos) return ::testing::AssertionSuccess();
  return ::testing::AssertionFailure() << "\"" << part << "\" is not in: " << text;
}

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
