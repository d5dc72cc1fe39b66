#include "apps/cli/new_file.h"

#include <fcntl.h>
#include <unistd.h>

#include <cerrno>
#include <cstdio>
#include <utility>

#include "base/error.h"

namespace maru::cli {

namespace fs = std::filesystem;

NewFile::NewFile(const fs::path& wanted) {
  std::error_code none;
  final_ = fs::exists(wanted, none) ? fs::canonical(wanted, none) : wanted;
  if (none) final_ = wanted;
  const bool in_place = fs::exists(final_, none) && !fs::is_regular_file(final_, none);
  written_ = final_;
  if (!in_place) written_ += fmt::format(".{}.tmp", ::getpid());
  fd_ = ::open(written_.c_str(), O_WRONLY | O_CREAT | O_CLOEXEC | (in_place ? 0 : O_TRUNC), 0666);
  if (fd_ < 0) throw system_error(wanted.string(), "a file that can be written");
}

NewFile::~NewFile() {
  if (fd_ < 0) return;
  ::close(fd_);
  if (written_ != final_) ::unlink(written_.c_str());
}

void NewFile::write(const void* data, std::size_t size) {
  const char* at = static_cast<const char*>(data);
  while (size > 0) {
    const ssize_t done = ::write(fd_, at, size);
    if (done < 0 && errno == EINTR) continue;
    if (done <= 0) throw system_error(final_.string(), "room for what is written");
    at += done;
    size -= static_cast<std::size_t>(done);
  }
}

void NewFile::finish() {
  const int closed = ::close(std::exchange(fd_, -1));
  if (closed == 0 && (written_ == final_ || ::rename(written_.c_str(), final_.c_str()) == 0)) return;
  const int reason = errno;
  if (written_ != final_) ::unlink(written_.c_str());
  errno = reason;
  throw system_error(final_.string(), "a file that can be written");
}

void write_file(const fs::path& path, std::string_view text) {
  NewFile file(path);
  file.write(text.data(), text.size());
  file.finish();
}

}  // namespace maru::cli
