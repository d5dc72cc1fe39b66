// AtomicFile: a file that appears whole or not at all. It is written under no name, or where the file
// system wants one under that of a temporary file in the same folder, flushed to the disk and put in
// place of what was there. One thread at a time.
#pragma once

#include <cstddef>
#include <filesystem>
#include <span>
#include <string>
#include <string_view>

namespace maru {

class AtomicFile {
 public:
  // what: "the snapshot", for errors. Throws Error where no file can be made, and where the path is
  // something else than a file. Of a link, the file that it names is replaced.
  AtomicFile(const std::filesystem::path& path, std::string_view what);
  AtomicFile(const AtomicFile&) = delete;
  AtomicFile& operator=(const AtomicFile&) = delete;
  // Without commit() everything is as it was before.
  ~AtomicFile();

  // All throw Error when the system refuses: no space, quota, a disk that fails.
  void write(std::span<const std::byte> bytes);
  void write(std::string_view bytes) { write(std::as_bytes(std::span(bytes.data(), bytes.size()))); }
  // What was written is on the disk, under no name yet: commit() then has little left that can fail.
  void flush();
  void commit();
  const std::filesystem::path& path() const { return path_; }

 private:
  [[noreturn]] void fail() const;
  bool open_unnamed(const std::filesystem::path& folder);
  void open_named();
  std::string next_name();

  std::filesystem::path path_;
  std::string what_;
  std::string written_;  // the temporary file; empty: it has no name
  int fd_ = -1;
  int attempt_ = 0;
};

}  // namespace maru
