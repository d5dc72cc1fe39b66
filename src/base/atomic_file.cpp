#include "base/atomic_file.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstdio>
#include <utility>

#include "base/error.h"

namespace maru {
namespace {

namespace fs = std::filesystem;

constexpr int kAttempts = 100;

// The file that a link names is replaced, not the link.
fs::path resolved(const fs::path& path) {
  std::error_code none;
  fs::path real = fs::canonical(path, none);
  return none ? path : real;
}

fs::path folder_of(const fs::path& path) {
  return path.parent_path().empty() ? fs::path(".") : path.parent_path();
}

}  // namespace

AtomicFile::AtomicFile(const fs::path& path, std::string_view what)
    : path_(resolved(path)), what_(what) {
  std::error_code none;
  if (const auto status = fs::status(path_, none); fs::exists(status) && !fs::is_regular_file(status)) {
    throw Error(path_.string(), fmt::format("a file for {}", what_),
                fs::is_directory(status) ? "a folder" : "something that is no file", "another name");
  }
  if (!open_unnamed(folder_of(path_))) open_named();
}

AtomicFile::~AtomicFile() {
  if (fd_ >= 0) ::close(fd_);
  if (!written_.empty()) ::unlink(written_.c_str());
}

void AtomicFile::fail() const {
  throw system_error(path_.string(), fmt::format("room for {}", what_),
                     "freeing space, or another place");
}

// What has no name is gone when the process is, however it ends.
bool AtomicFile::open_unnamed([[maybe_unused]] const fs::path& folder) {
#ifdef O_TMPFILE
  fd_ = ::open(folder.c_str(), O_TMPFILE | O_WRONLY | O_CLOEXEC, 0666);
#endif
  return fd_ >= 0;
}

std::string AtomicFile::next_name() {
  return fmt::format("{}.{}.{}.tmp", path_.string(), ::getpid(), attempt_++);
}

void AtomicFile::open_named() {
  while (fd_ < 0) {
    std::string name = next_name();
    fd_ = ::open(name.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0666);
    if (fd_ >= 0) {
      written_ = std::move(name);
    } else if (errno != EEXIST || attempt_ > kAttempts) {
      throw system_error(path_.string(), fmt::format("a folder that {} can be written to", what_),
                         "another place");
    }
  }
}

void AtomicFile::write(std::span<const std::byte> bytes) {
  while (!bytes.empty()) {
    const ssize_t done = ::write(fd_, bytes.data(), bytes.size());
    if (done < 0 && errno == EINTR) continue;
    if (done <= 0) fail();
    bytes = bytes.subspan(static_cast<std::size_t>(done));
  }
}

void AtomicFile::flush() {
  if (::fsync(fd_) != 0) fail();
}

void AtomicFile::commit() {
  flush();
  if (written_.empty()) {
    const std::string open_file = fmt::format("/proc/self/fd/{}", fd_);
    for (std::string name = next_name();; name = next_name()) {
      if (::linkat(AT_FDCWD, open_file.c_str(), AT_FDCWD, name.c_str(), AT_SYMLINK_FOLLOW) == 0) {
        written_ = std::move(name);
        break;
      }
      if (errno != EEXIST || attempt_ > kAttempts) fail();
    }
  }
  if (::close(std::exchange(fd_, -1)) != 0) fail();
  if (::rename(written_.c_str(), path_.c_str()) != 0) fail();
  written_.clear();
  // So that the new name, too, is on the disk.
  const int folder = ::open(folder_of(path_).c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  if (folder < 0) return;
  ::fsync(folder);
  ::close(folder);
}

}  // namespace maru
