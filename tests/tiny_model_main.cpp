// tiny_model FOLDER: writes the tiny model and a red photo to a folder, for tests that are no C++.
#include <cstdio>
#include <exception>

#include "tiny_model.h"

int main(int argc, char** argv) {
  if (argc != 2) {
    std::fputs("usage: tiny_model FOLDER\n", stderr);
    return 2;
  }
  try {
    const std::filesystem::path folder = maru::testing::write_tiny_model(argv[1]);
    std::ofstream photo(folder / "red.ppm", std::ios::binary);
    photo << maru::testing::tiny_photo(12, 10, 255, 0, 0) << std::flush;
    return photo ? 0 : 1;
  } catch (const std::exception& e) {
    std::fprintf(stderr, "%s\n", e.what());
    return 1;
  }
}
