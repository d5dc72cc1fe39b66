// TarArchive: the files of a .tar, found by one walk over its headers and read where the archive is
// mapped. POSIX.1-2001 (ustar, pax) and GNU's long names and large numbers; other kinds of entries are
// passed over. Owns the mapping; any number of threads may read.
#pragma once

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "base/mapped_file.h"
#include "data/kinds.h"

namespace maru::data {

class TarArchive {
 public:
  // Throws Error, with the byte, for what is no archive, is cut off (no zeros at its end) or damaged
  // (checksums of headers).
  explicit TarArchive(const std::filesystem::path& path);

  const std::string& path() const { return path_; }
  std::size_t size() const { return places_.size(); }
  std::string_view name(std::size_t i) const { return names_[i]; }
  std::span<const std::byte> content(std::size_t i) const {
    return file_.bytes().subspan(places_[i].begin, places_[i].size);
  }

 private:
  struct Place {
    std::size_t begin, size;
  };
  class Walk;

  std::string path_;
  MappedFile file_;
  Texts names_;
  std::vector<Place> places_;
};

}  // namespace maru::data
