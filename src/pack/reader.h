// PackedFile: a packed model file, mapped. Owns the mapping, whose pages are shared by all processes
// that map the file; immutable, any thread may read. Opening looks at everything but the weights.
#pragma once

#include <filesystem>
#include <optional>
#include <span>
#include <string_view>

#include "base/mapped_file.h"
#include "pack/format.h"

namespace maru {

class PackedFile {
 public:
  // Whether the path is meant to be a packed file: it ends in .maru, or begins as one.
  static bool is_meant_by(const std::filesystem::path& path);

  // Throws Error when it is no whole packed file of this version, or a section other than weights is
  // not what its checksum says.
  explicit PackedFile(const std::filesystem::path& path);

  const std::filesystem::path& path() const noexcept { return path_; }
  const PackedHeader& header() const noexcept { return header_; }
  bool has(std::string_view section) const { return find(section) != nullptr; }
  // Throws Error when there is none of this name.
  std::string_view text(std::string_view section) const;
  // Of region `index`; nothing when there is none.
  std::optional<std::span<const std::byte>> weights(std::size_t index) const;
  // Reads all weights. Throws Error naming the section that is not what its checksum says.
  void verify_weights() const;

 private:
  const PackedSection* find(std::string_view section) const;
  std::span<const std::byte> bytes_of(const PackedSection& section) const;
  void verify(const PackedSection& section) const;

  std::filesystem::path path_;
  MappedFile file_;
  PackedHeader header_;
};

}  // namespace maru
