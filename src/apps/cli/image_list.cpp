#include "apps/cli/image_list.h"

#include <glob.h>

#include <algorithm>
#include <memory>
#include <new>
#include <string_view>
#include <system_error>

#include "base/error.h"

namespace maru::cli {
namespace {

namespace fs = std::filesystem;

bool is_image_name(const fs::path& file) {
  std::string extension = file.extension().string();
  std::ranges::transform(extension, extension.begin(), [](char c) {
    return c >= 'A' && c <= 'Z' ? static_cast<char>(c - 'A' + 'a') : c;
  });
  constexpr std::string_view kKnown[] = {".jpg", ".jpeg", ".png", ".ppm", ".pgm"};
  return std::ranges::find(kKnown, extension) != std::end(kKnown);
}

void add_folder(const fs::path& folder, std::vector<fs::path>& files) {
  std::error_code failed;
  fs::directory_iterator entries(folder, failed);
  const std::size_t before = files.size();
  for (; !failed && entries != fs::directory_iterator(); entries.increment(failed)) {
    std::error_code unknown;
    if (is_image_name(entries->path()) && !entries->is_directory(unknown))
      files.push_back(entries->path());
  }
  if (failed) throw Error(folder.string(), "a folder that can be read", failed.message());
  if (files.size() == before) {
    throw Error(folder.string(), "photos in the folder (.jpg, .jpeg, .png, .ppm, .pgm)", "none",
                "naming the folder that holds them: folders inside it are not searched");
  }
  std::sort(files.begin() + static_cast<std::ptrdiff_t>(before), files.end());
}

bool is_folder(const fs::path& path) {
  std::error_code unknown;
  return fs::is_directory(path, unknown);
}

void add_pattern(const std::string& pattern, std::vector<fs::path>& files) {
  glob_t found{};
  const std::unique_ptr<glob_t, void (*)(glob_t*)> release(&found, ::globfree);
  const int result = ::glob(pattern.c_str(), 0, nullptr, &found);
  if (result == GLOB_NOSPACE) throw std::bad_alloc();
  const std::size_t before = files.size();
  for (std::size_t i = 0; result == 0 && i < found.gl_pathc; ++i) {
    if (!is_folder(found.gl_pathv[i])) files.emplace_back(found.gl_pathv[i]);
  }
  if (files.size() == before) {
    throw Error(pattern, "files that match the pattern", "none", "'ls' with the same pattern");
  }
}

}  // namespace

std::vector<fs::path> image_list(const std::vector<std::string>& words) {
  std::vector<fs::path> files;
  for (const std::string& word : words) {
    std::error_code unknown;
    if (is_folder(word)) {
      add_folder(word, files);
    } else if (word.find_first_of("*?[") != std::string::npos && !fs::exists(word, unknown)) {
      add_pattern(word, files);
    } else {
      files.emplace_back(word);
    }
  }
  return files;
}

}  // namespace maru::cli
