#include "pack/reader.h"

#include <algorithm>
#include <array>
#include <fstream>

#include "base/error.h"

namespace maru {

bool PackedFile::is_meant_by(const std::filesystem::path& path) {
  std::error_code none;
  if (!std::filesystem::is_regular_file(path, none)) return false;
  if (path.extension() == ".maru") return true;
  std::array<char, kPackedMagic.size()> begin{};
  std::ifstream(path, std::ios::binary).read(begin.data(), begin.size());
  return std::string_view(begin.data(), begin.size()) == kPackedMagic;
}

PackedFile::PackedFile(const std::filesystem::path& path)
    : path_(path), file_(path), header_(decode_packed_header(file_.bytes(), path.string())) {
  for (const PackedSection& section : header_.sections) {
    if (!section.is_weights()) verify(section);
  }
}

const PackedSection* PackedFile::find(std::string_view section) const {
  const auto found = std::ranges::find(header_.sections, section, &PackedSection::name);
  return found == header_.sections.end() ? nullptr : &*found;
}

std::span<const std::byte> PackedFile::bytes_of(const PackedSection& section) const {
  return file_.bytes().subspan(section.offset, section.bytes);
}

void PackedFile::verify(const PackedSection& section) const {
  const std::uint32_t got = packed_checksum(bytes_of(section));
  if (got == section.checksum) return;
  throw Error(fmt::format("{}: section {}", path_.string(), section.name),
              fmt::format("bytes with checksum {:08x}", section.checksum), fmt::format("{:08x}", got),
              "packing the model again, or fetching the file again");
}

std::string_view PackedFile::text(std::string_view section) const {
  const PackedSection* found = find(section);
  if (found == nullptr) {
    throw Error(path_.string(), fmt::format("a section {}", section), "none",
                "packing the model again with this maru");
  }
  const auto bytes = bytes_of(*found);
  return {reinterpret_cast<const char*>(bytes.data()), bytes.size()};
}

std::optional<std::span<const std::byte>> PackedFile::weights(std::size_t index) const {
  const PackedSection* found = find(fmt::format("weights.{}", index));
  if (found == nullptr) return std::nullopt;
  return bytes_of(*found);
}

void PackedFile::verify_weights() const {
  for (const PackedSection& section : header_.sections) {
    if (section.is_weights()) verify(section);
  }
}

}  // namespace maru
