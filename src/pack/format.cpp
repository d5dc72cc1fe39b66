#include "pack/format.h"

#include <zlib.h>

#include <algorithm>
#include <bit>
#include <cstring>

#include "base/error.h"

namespace maru {
namespace {

constexpr std::uint32_t kByteOrder = 0x01020304;
constexpr const char* kAgain = "packing the model again, or fetching the file again";

// Offsets in the header and in an entry of the table.
enum Header : std::size_t {
  magic = 0,
  version = 8,
  order = 12,
  size = 16,
  count = 24,
  check = 28,
  text = 32
};
enum Entry : std::size_t { offset = 40, bytes = 48, sum = 56 };
constexpr std::size_t kVersionText = 24, kNameText = 40;

template <class T>
T get(std::span<const std::byte> from, std::size_t at) {
  T value;
  std::memcpy(&value, from.data() + at, sizeof value);
  return value;
}

template <class T>
void put(std::span<std::byte> to, std::size_t at, T value) {
  std::memcpy(to.data() + at, &value, sizeof value);
}

std::string get_text(std::span<const std::byte> from, std::size_t at, std::size_t room) {
  const auto* begin = reinterpret_cast<const char*>(from.data() + at);
  return {begin, std::find(begin, begin + room, '\0')};
}

void put_text(std::span<std::byte> to, std::size_t at, std::size_t room, std::string_view value) {
  MARU_ASSERT(value.size() < room);
  std::memcpy(to.data() + at, value.data(), value.size());
}

// Of header and table, the field that holds it read as 0.
std::uint32_t checksum_of(std::span<const std::byte> head) {
  const std::byte zeros[sizeof(std::uint32_t)]{};
  const std::uint32_t before = packed_checksum(head.first(Header::check));
  return packed_checksum(head.subspan(Header::text), packed_checksum(zeros, before));
}

PackedSection decode_entry(std::span<const std::byte> entry) {
  return {get_text(entry, 0, kNameText), get<std::uint64_t>(entry, Entry::offset),
          get<std::uint64_t>(entry, Entry::bytes), get<std::uint32_t>(entry, Entry::sum)};
}

void check_sections(const PackedHeader& header, std::string_view where) {
  std::uint64_t free = kPackedHeaderBytes + header.sections.size() * kPackedEntryBytes;
  for (const PackedSection& section : header.sections) {
    const auto same_name = [&](const PackedSection& other) { return other.name == section.name; };
    const bool fits = section.offset >= free && section.offset <= header.file_bytes &&
                      section.bytes <= header.file_bytes - section.offset;
    const bool aligned = !section.is_weights() || section.offset % kPackedAlignment == 0;
    if (!fits || !aligned || section.name.empty() ||
        std::ranges::count_if(header.sections, same_name) != 1) {
      throw Error(fmt::format("{}: section {}", where, section.name),
                  "a place of its own within the file",
                  fmt::format("{} bytes at {}", section.bytes, section.offset), kAgain);
    }
    free = section.offset + section.bytes;
  }
}

}  // namespace

std::uint32_t packed_checksum(std::span<const std::byte> bytes, std::uint32_t before) {
  return static_cast<std::uint32_t>(
      ::crc32_z(before, reinterpret_cast<const Bytef*>(bytes.data()), bytes.size()));
}

std::vector<std::byte> encode(const PackedHeader& header) {
  static_assert(std::endian::native == std::endian::little, "the format is little-endian");
  MARU_ASSERT(header.sections.size() <= kMostPackedSections);
  std::vector<std::byte> head(kPackedHeaderBytes + header.sections.size() * kPackedEntryBytes);
  std::memcpy(head.data() + Header::magic, kPackedMagic.data(), kPackedMagic.size());
  put(head, Header::version, kPackedVersion);
  put(head, Header::order, kByteOrder);
  put(head, Header::size, header.file_bytes);
  put(head, Header::count, static_cast<std::uint32_t>(header.sections.size()));
  put_text(head, Header::text, kVersionText, header.maru_version);
  std::span<std::byte> rest = std::span(head).subspan(kPackedHeaderBytes);
  for (const PackedSection& section : header.sections) {
    put_text(rest, 0, kNameText, section.name);
    put(rest, Entry::offset, section.offset);
    put(rest, Entry::bytes, section.bytes);
    put(rest, Entry::sum, section.checksum);
    rest = rest.subspan(kPackedEntryBytes);
  }
  put(head, Header::check, checksum_of(head));
  return head;
}

PackedHeader decode_packed_header(std::span<const std::byte> file, std::string_view where) {
  const std::size_t magic_seen = std::min(file.size(), kPackedMagic.size());
  if (std::memcmp(file.data(), kPackedMagic.data(), magic_seen) != 0) {
    throw Error(where, "a packed model of maru", "another kind of file",
                "`maru pack MODEL -o FILE.maru`");
  }
  if (file.size() < kPackedHeaderBytes) {
    throw Error(where, fmt::format("a header of {} bytes", kPackedHeaderBytes),
                fmt::format("a file of {}", file.size()), kAgain);
  }
  if (get<std::uint32_t>(file, Header::order) != kByteOrder) {
    throw Error(where, "numbers in this machine's order of bytes", "another order", kAgain);
  }
  if (const auto got = get<std::uint32_t>(file, Header::version); got != kPackedVersion) {
    throw Error(
        where, fmt::format("version {} of the packed format", kPackedVersion),
        fmt::format("version {}, written by maru {}", got, get_text(file, Header::text, kVersionText)),
        "packing the model again with this maru");
  }
  PackedHeader header{
      get_text(file, Header::text, kVersionText), get<std::uint64_t>(file, Header::size), {}};
  if (header.file_bytes != file.size()) {
    throw Error(where, fmt::format("{} bytes, as its header says", header.file_bytes),
                fmt::format("{}", file.size()), kAgain);
  }
  const auto sections = get<std::uint32_t>(file, Header::count);
  const std::size_t head_bytes = kPackedHeaderBytes + std::size_t{sections} * kPackedEntryBytes;
  if (sections > kMostPackedSections || head_bytes > file.size()) {
    throw Error(where, fmt::format("at most {} sections", kMostPackedSections),
                fmt::format("{}", sections), kAgain);
  }
  const auto head = file.first(head_bytes);
  if (checksum_of(head) != get<std::uint32_t>(file, Header::check)) {
    throw Error(where, "a header that fits its checksum", "another checksum", kAgain);
  }
  for (std::size_t i = 0; i < sections; ++i) {
    header.sections.push_back(decode_entry(head.subspan(kPackedHeaderBytes + i * kPackedEntryBytes)));
  }
  check_sections(header, where);
  return header;
}

}  // namespace maru
