#include "data/zip_archive.h"

#include <zlib.h>

#include <algorithm>
#include <limits>
#include <memory>

#include "base/error.h"

namespace maru::data {
namespace {

constexpr std::uint32_t kLocal = 0x04034b50, kCentral = 0x02014b50, kEnd = 0x06054b50,
                        kEnd64 = 0x06064b50, kLocator64 = 0x07064b50;
constexpr std::size_t kLocalBytes = 30, kCentralBytes = 46, kEndBytes = 22, kEnd64Bytes = 56,
                      kLocatorBytes = 20;
constexpr std::uint16_t kStored = 0, kDeflated = 8;
constexpr std::uint64_t kMostBytes = std::uint64_t{1} << 31;  // of one photo
constexpr std::uint64_t kIn64 = std::numeric_limits<std::uint32_t>::max();

// Little-endian numbers; whoever asks has looked whether they are there.
class Numbers {
 public:
  explicit Numbers(std::span<const std::byte> bytes) : bytes_(bytes) {}
  bool holds(std::uint64_t at, std::uint64_t count) const {
    return at <= bytes_.size() && count <= bytes_.size() - at;
  }
  std::uint64_t get(std::uint64_t at, int count) const {
    std::uint64_t value = 0;
    for (int i = count; i > 0; --i) {
      value =
          value << 8 | std::to_integer<std::uint64_t>(bytes_[at + static_cast<std::uint64_t>(i) - 1]);
    }
    return value;
  }
  std::uint16_t u16(std::uint64_t at) const { return static_cast<std::uint16_t>(get(at, 2)); }
  std::uint32_t u32(std::uint64_t at) const { return static_cast<std::uint32_t>(get(at, 4)); }
  std::uint64_t u64(std::uint64_t at) const { return get(at, 8); }

 private:
  std::span<const std::byte> bytes_;
};

// Where the end record is: a comment of up to 65535 bytes may follow it. Nothing found: the file's
// size.
std::uint64_t find_end(const Numbers& in, std::uint64_t size) {
  if (size < kEndBytes) return size;
  const std::uint64_t last = size - kEndBytes;
  const std::uint64_t least = last > 65535 ? last - 65535 : 0;
  for (std::uint64_t at = last + 1; at > least; --at) {
    if (in.u32(at - 1) == kEnd && at - 1 + kEndBytes + in.u16(at - 1 + 20) <= size) return at - 1;
  }
  return size;
}

// Fields of the entry that have no room in its record stand in an extra field, in a fixed order.
bool read_zip64(const Numbers& in, std::uint64_t at, std::uint64_t bytes, ZipArchive::Entry& entry) {
  const std::uint64_t end = at + bytes;
  for (; end - at >= 4;) {
    const std::uint16_t kind = in.u16(at), length = in.u16(at + 2);
    at += 4;
    if (length > end - at) return false;
    if (kind == 1) {
      std::uint64_t next = at;
      for (std::uint64_t* field : {&entry.size, &entry.stored, &entry.header}) {
        if (*field != kIn64) continue;
        if (next + 8 > at + length) return false;
        *field = in.u64(next);
        next += 8;
      }
      return true;
    }
    at += length;
  }
  return false;
}

}  // namespace

ZipArchive::ZipArchive(const std::filesystem::path& path) : path_(path.string()), file_(path) {
  const Numbers in(file_.bytes());
  const std::uint64_t size = file_.bytes().size();
  const auto damaged = [&](std::string_view expected, std::string_view got) -> Error {
    return {path_, expected, got, "copying or downloading the archive again"};
  };
  const std::uint64_t end = find_end(in, size);
  if (end == size) throw damaged("a zip archive", "none, or one whose end is missing");
  std::uint64_t count = in.u16(end + 10), bytes = in.u32(end + 12), at = in.u32(end + 16);
  if (in.u16(end + 4) != in.u16(end + 6)) {
    throw Error(path_, "a zip archive of one file", "a split one", "zip -s 0 ARCHIVE --out WHOLE");
  }
  if (count == 0xFFFF || bytes == kIn64 || at == kIn64) {
    const bool there = end >= kLocatorBytes && in.u32(end - kLocatorBytes) == kLocator64;
    const std::uint64_t record = there ? in.u64(end - kLocatorBytes + 8) : size;
    if (!in.holds(record, kEnd64Bytes) || in.u32(record) != kEnd64) {
      throw damaged("a Zip64 end record", "none");
    }
    count = in.u64(record + 32);
    bytes = in.u64(record + 40);
    at = in.u64(record + 48);
  }
  if (!in.holds(at, bytes) || at + bytes > end) {
    throw damaged("a directory inside of the archive", fmt::format("{} bytes at byte {}", bytes, at));
  }
  const std::uint64_t stop = at + bytes;
  entries_.reserve(static_cast<std::size_t>(std::min(count, bytes / kCentralBytes)));
  for (std::uint64_t i = 0; i < count; ++i) {
    if (stop - at < kCentralBytes || in.u32(at) != kCentral) {
      throw damaged(fmt::format("{} entries", count), fmt::format("damage after {}", i));
    }
    Entry entry;
    entry.flags = in.u16(at + 8);
    entry.method = in.u16(at + 10);
    entry.crc = in.u32(at + 16);
    entry.stored = in.u32(at + 20);
    entry.size = in.u32(at + 24);
    entry.header = in.u32(at + 42);
    const std::uint64_t name = in.u16(at + 28), extra = in.u16(at + 30), comment = in.u16(at + 32);
    if (name + extra + comment > stop - at - kCentralBytes) {
      throw damaged(fmt::format("{} entries", count), fmt::format("damage after {}", i));
    }
    entry.name = file_.text().substr(at + kCentralBytes, name);
    const bool wide = entry.size == kIn64 || entry.stored == kIn64 || entry.header == kIn64;
    if (wide && !read_zip64(in, at + kCentralBytes + name, extra, entry)) {
      throw damaged(fmt::format("Zip64 sizes of \"{}\"", entry.name), "none");
    }
    if (!in.holds(entry.header, kLocalBytes) || entry.stored > size) {
      throw damaged(fmt::format("\"{}\" inside of the archive", entry.name),
                    fmt::format("{} bytes at byte {}", entry.stored, entry.header));
    }
    if (!entry.name.ends_with('/')) entries_.push_back(entry);
    at += kCentralBytes + name + extra + comment;
  }
}

std::span<const std::byte> ZipArchive::content(const Entry& entry) const {
  const Numbers in(file_.bytes());
  if (in.u32(entry.header) != kLocal) {
    throw Error(fmt::format("{}: {}", path_, entry.name), "an intact entry", "none where it should be",
                "copying or downloading the archive again");
  }
  const std::uint64_t begin =
      entry.header + kLocalBytes + in.u16(entry.header + 26) + in.u16(entry.header + 28);
  if (!in.holds(begin, entry.stored)) {
    throw Error(fmt::format("{}: {}", path_, entry.name), fmt::format("{} bytes", entry.stored),
                "an end of the archive before", "copying or downloading the archive again");
  }
  return file_.bytes().subspan(static_cast<std::size_t>(begin), static_cast<std::size_t>(entry.stored));
}

namespace {

// Raw deflate; exactly dst.size() bytes of it.
bool inflate_all(std::span<const std::byte> src, std::span<std::byte> dst) {
  z_stream stream{};
  if (::inflateInit2(&stream, -MAX_WBITS) != Z_OK) throw std::bad_alloc();
  const std::unique_ptr<z_stream, int (*)(z_stream*)> release(&stream, ::inflateEnd);
  stream.next_in = reinterpret_cast<Bytef*>(const_cast<std::byte*>(src.data()));
  stream.avail_in = static_cast<uInt>(src.size());
  stream.next_out = reinterpret_cast<Bytef*>(dst.data());
  stream.avail_out = static_cast<uInt>(dst.size());
  return ::inflate(&stream, Z_FINISH) == Z_STREAM_END && stream.avail_out == 0;
}

}  // namespace

std::span<const std::byte> ZipArchive::read(const Entry& entry, std::vector<std::byte>& scratch) const {
  const auto fail = [&](std::string_view expected, std::string_view got, std::string_view hint) {
    throw Error(fmt::format("{}: {}", path_, entry.name), expected, got, hint);
  };
  if ((entry.flags & 1) != 0) fail("an entry that is not encrypted", "one that is", "packing it anew");
  if (entry.method != kStored && entry.method != kDeflated) {
    fail("an entry that is stored or deflated", fmt::format("method {}", entry.method),
         "packing it anew, by zip -0");
  }
  if (entry.size > kMostBytes || entry.stored > kMostBytes) {
    fail(fmt::format("a photo of at most {} bytes", kMostBytes), fmt::format("{}", entry.size), {});
  }
  std::span<const std::byte> bytes = content(entry);
  constexpr std::string_view kAgain = "copying or downloading the archive again";
  if (entry.method == kDeflated) {
    const auto size = static_cast<std::size_t>(entry.size);
    // zlib packs a byte to no less than a 1032th: what claims more is no reason to allocate.
    if (size > bytes.size() * 1032 + 64)
      fail("an intact entry", "one whose size cannot be right", kAgain);
    if (scratch.size() < size) scratch.resize(size);
    if (!inflate_all(bytes, std::span(scratch).first(size)))
      fail("an intact entry", "a damaged one", kAgain);
    bytes = std::span<const std::byte>(scratch).first(size);
  } else if (entry.stored != entry.size) {
    fail("an intact entry", "two sizes that disagree", kAgain);
  }
  if (bytes.empty()) fail("a photo", "0 bytes", "packing it anew");
  const uLong crc =
      ::crc32(0, reinterpret_cast<const Bytef*>(bytes.data()), static_cast<uInt>(bytes.size()));
  if (crc != entry.crc) fail("an intact entry", "another checksum", kAgain);
  return bytes;
}

}  // namespace maru::data
