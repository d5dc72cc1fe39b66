// NewFile: a file being written beside the one that it replaces; removed again unless finish() was
// reached, so that a reader finds the old file or all of the new one. One thread.
#pragma once

#include <cstddef>
#include <filesystem>
#include <string_view>

namespace maru::cli {

class NewFile {
 public:
  // What is no regular file, as /dev/null and /dev/stdout into a pipe, cannot be replaced and is
  // written in place; /dev/stdout into a file is that file, and is replaced. All throw Error.
  explicit NewFile(const std::filesystem::path& wanted);
  NewFile(const NewFile&) = delete;
  NewFile& operator=(const NewFile&) = delete;
  ~NewFile();

  void write(const void* data, std::size_t size);
  void finish();

 private:
  std::filesystem::path final_, written_;
  int fd_ = -1;
};

// A whole text at once.
void write_file(const std::filesystem::path& path, std::string_view text);

}  // namespace maru::cli
