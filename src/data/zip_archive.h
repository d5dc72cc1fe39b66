// ZipArchive: the entries of a .zip file, stored or deflated, read where the file is mapped. PKWARE's
// APPNOTE.TXT 6.3, with Zip64; neither encrypted nor split archives. Owns the mapping; any number of
// threads may read.
#pragma once

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "base/mapped_file.h"

namespace maru::data {

class ZipArchive {
 public:
  struct Entry {
    std::string_view name;               // in the mapping
    std::uint64_t header = 0;            // where its local header is
    std::uint64_t stored = 0, size = 0;  // bytes in the archive, and as they were
    std::uint32_t crc = 0;
    std::uint16_t method = 0, flags = 0;
  };

  // Reads the central directory. Throws Error for what is no archive, is cut off or damaged.
  explicit ZipArchive(const std::filesystem::path& path);

  const std::string& path() const { return path_; }
  std::span<const Entry> entries() const { return entries_; }  // folders are none

  // The entry's content, in the mapping or in scratch. Throws Error for a way of packing other than
  // these two, and for damage (the checksum is compared).
  std::span<const std::byte> read(const Entry& entry, std::vector<std::byte>& scratch) const;

 private:
  std::span<const std::byte> content(const Entry& entry) const;

  std::string path_;
  MappedFile file_;
  std::vector<Entry> entries_;
};

}  // namespace maru::data
