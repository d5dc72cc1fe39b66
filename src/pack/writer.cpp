#include "pack/writer.h"

#include <fcntl.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstdio>
#include <utility>

#include "base/error.h"

namespace maru {
namespace {

namespace fs = std::filesystem;

// The file that a link names is replaced, not the link.
fs::path resolved(const fs::path& path) {
  std::error_code none;
  fs::path real = fs::canonical(path, none);
  return none ? path : real;
}

}  // namespace

PackedWriter::PackedWriter(const fs::path& path, std::size_t sections, std::string_view maru_version)
    : path_(resolved(path)), sections_(sections) {
  MARU_ASSERT(sections <= kMostPackedSections);
  for (int attempt = 0; fd_ < 0; ++attempt) {
    constexpr int kAttempts = 100;
    written_ = fmt::format("{}.{}.{}.tmp", path_.string(), ::getpid(), attempt);
    fd_ = ::open(written_.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0666);
    if (fd_ < 0 && (errno != EEXIST || attempt == kAttempts)) {
      throw system_error(path_.string(), "a folder that can be written to",
                         "another place for the file");
    }
  }
  header_.maru_version = maru_version;
  try {
    zeros_at_end(kPackedHeaderBytes + sections * kPackedEntryBytes);
  } catch (...) {
    ::close(fd_);
    ::unlink(written_.c_str());
    throw;
  }
}

PackedWriter::~PackedWriter() {
  if (fd_ >= 0) ::close(fd_);
  if (!written_.empty()) ::unlink(written_.c_str());
}

void PackedWriter::fail() const {
  throw system_error(path_.string(), "room for the packed model", "another place for the file");
}

void PackedWriter::write_at_end(std::span<const std::byte> bytes) {
  while (!bytes.empty()) {
    const ssize_t done = ::write(fd_, bytes.data(), bytes.size());
    if (done < 0 && errno == EINTR) continue;
    if (done <= 0) fail();
    bytes = bytes.subspan(static_cast<std::size_t>(done));
    header_.file_bytes += static_cast<std::uint64_t>(done);
  }
}

void PackedWriter::zeros_at_end(std::size_t count) {
  constexpr std::size_t kPiece = 4096;
  static constexpr std::array<std::byte, kPiece> kZeros{};
  for (; count > 0; count -= std::min(count, kPiece)) {
    write_at_end(std::span(kZeros).first(std::min(count, kPiece)));
  }
}

void PackedWriter::begin_section(std::string name) {
  MARU_ASSERT(header_.sections.size() < sections_);
  PackedSection section{std::move(name), 0, 0, 0};
  const std::size_t alignment = section.is_weights() ? kPackedAlignment : 8;
  zeros_at_end((alignment - header_.file_bytes % alignment) % alignment);
  section.offset = header_.file_bytes;
  header_.sections.push_back(std::move(section));
}

void PackedWriter::append(std::span<const std::byte> bytes) {
  PackedSection& section = header_.sections.back();
  write_at_end(bytes);
  section.bytes += bytes.size();
  section.checksum = packed_checksum(bytes, section.checksum);
}

void PackedWriter::fill_to(std::size_t section_bytes) {
  constexpr std::size_t kPiece = 4096;
  static constexpr std::array<std::byte, kPiece> kZeros{};
  PackedSection& section = header_.sections.back();
  MARU_ASSERT(section_bytes >= section.bytes);
  while (section.bytes < section_bytes) {
    append(std::span(kZeros).first(std::min<std::size_t>(kPiece, section_bytes - section.bytes)));
  }
}

const fs::path& PackedWriter::close() {
  MARU_ASSERT(header_.sections.size() == sections_);
  zeros_at_end((kPackedAlignment - header_.file_bytes % kPackedAlignment) % kPackedAlignment);
  const std::vector<std::byte> head = encode(header_);
  const ssize_t done = ::pwrite(fd_, head.data(), head.size(), 0);
  if (done != static_cast<ssize_t>(head.size())) fail();
  if (::fsync(fd_) != 0) fail();
  if (::close(std::exchange(fd_, -1)) != 0) fail();
  return written_;
}

void PackedWriter::finish(bool replace) {
  if (fd_ >= 0) close();
  if (!replace && ::link(written_.c_str(), path_.c_str()) == 0) {
    ::unlink(written_.c_str());
  } else {
    // Some file systems have no links; there a file that appears this very moment is lost.
    if (!replace && fs::exists(path_)) {
      throw Error(path_.string(), "a new file", "one that is there", "--force, which replaces it");
    }
    if (::rename(written_.c_str(), path_.c_str()) != 0) fail();
  }
  written_.clear();
  sync_folder();
}

// So that the new name, too, is on the disk.
void PackedWriter::sync_folder() const {
  const fs::path folder = path_.parent_path().empty() ? fs::path(".") : path_.parent_path();
  const int fd = ::open(folder.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  if (fd < 0) return;
  ::fsync(fd);
  ::close(fd);
}

}  // namespace maru
