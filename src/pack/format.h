// The packed model file as bytes: header and table of sections (docs/format.md says each byte). Plain
// values and pure functions.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace maru {

inline constexpr std::string_view kPackedMagic{"\x89MARU\r\n\x1a", 8};
inline constexpr std::uint32_t kPackedVersion = 1;
inline constexpr std::size_t kPackedHeaderBytes = 64, kPackedEntryBytes = 64;
inline constexpr std::size_t kMostPackedSections = 64;
// Weights begin at multiples of it, so that they are pages of their own on every machine.
inline constexpr std::size_t kPackedAlignment = 65536;

struct PackedSection {
  std::string name;  // at most 39 bytes
  std::uint64_t offset = 0, bytes = 0;
  std::uint32_t checksum = 0;  // crc32 of its bytes

  bool is_weights() const { return name.starts_with("weights."); }
};

struct PackedHeader {
  std::string maru_version;  // that wrote it; at most 23 bytes
  std::uint64_t file_bytes = 0;
  std::vector<PackedSection> sections;  // by rising offset
};

// The first (1 + sections) * 64 bytes of the file.
std::vector<std::byte> encode(const PackedHeader& header);
// Throws Error unless `file` is a whole packed file of this version and every section lies in it; what
// is in the sections is not looked at.
PackedHeader decode_packed_header(std::span<const std::byte> file, std::string_view where);

// crc32 as zlib has it; `before` is the checksum of what stands in front of `bytes`.
std::uint32_t packed_checksum(std::span<const std::byte> bytes, std::uint32_t before = 0);

}  // namespace maru
