// Where the data beside the project is: real networks, photos, and what the real Caffe made of them.
#pragma once

#include <gtest/gtest.h>

#include <cstdlib>
#include <filesystem>

#include "tests/paths.h"

namespace maru::testing {

inline std::filesystem::path shared_folder() {
  if (const char* named = std::getenv("MARU_SHARED")) return named;
  return std::filesystem::path(maru::testing::source_dir()) / ".." / "shared";
}

}  // namespace maru::testing

// Skips the test, and says so, where that data is absent.
#define MARU_NEEDS_SHARED(path)                                                  \
  if (!std::filesystem::exists(maru::testing::shared_folder() / (path)))         \
  GTEST_SKIP() << "needs " << (maru::testing::shared_folder() / (path)).string() \
               << ", which is not there; MARU_SHARED names another folder"
