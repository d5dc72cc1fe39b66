// MappedFile: a whole file, read-only, through mmap. Owns the mapping; moves, does not copy; reading it
// from several threads is safe. Nothing is read until it is touched.
#pragma once

#include <cstddef>
#include <filesystem>
#include <span>
#include <string_view>

namespace maru {

class MappedFile {
 public:
  MappedFile() = default;
  // Throws Error when the path is missing, a directory, unreadable or empty.
  explicit MappedFile(const std::filesystem::path& path);
  MappedFile(MappedFile&& other) noexcept;
  MappedFile& operator=(MappedFile&& other) noexcept;
  ~MappedFile();

  std::span<const std::byte> bytes() const noexcept { return {data_, size_}; }
  std::string_view text() const noexcept { return {reinterpret_cast<const char*>(data_), size_}; }

 private:
  const std::byte* data_ = nullptr;
  std::size_t size_ = 0;
};

}  // namespace maru
