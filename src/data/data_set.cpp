#include "data/data_set.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <charconv>
#include <filesystem>

#include "base/text.h"
#include "data/kinds.h"

namespace maru {
namespace fs = std::filesystem;

void DataSet::require_label(std::int64_t index, std::int64_t label) const {
  if (label == ignored_ || (label >= 0 && (classes_ == 0 || label < classes_))) return;
  throw Error(
      name(index),
      classes_ == 0 ? std::string("a label of 0 or more")
                    : fmt::format("a label from 0 to {}, one of {} classes", classes_ - 1, classes_),
      fmt::format("{}", label), "labels that count from 0, and as many outputs as there are classes");
}

void DataSet::probe(std::int64_t index, std::vector<std::byte>& scratch) const { read(index, scratch); }

DataCheck DataSet::check(std::int64_t most) const {
  DataCheck found;
  std::vector<std::byte> scratch;
  for (std::int64_t i = 0; i < size(); ++i) {
    ++found.samples;
    try {
      require_label(i, label(i));
      probe(i, scratch);
    } catch (const Error& error) {
      if (found.bad++ < most) found.first.emplace_back(error.what());
    }
  }
  return found;
}

namespace {

bool has_ending(const fs::path& path, std::string_view ending) { return path.extension() == ending; }

bool is_pattern(const std::string& path) { return path.find_first_of("*?[{") != std::string::npos; }

// Whether a folder holds shards and no folders.
bool holds_shards(const fs::path& folder) {
  bool any = false;
  for (const fs::directory_entry& entry : fs::directory_iterator(folder)) {
    if (entry.is_directory()) return false;
    any = any || has_ending(entry.path(), ".tar");
  }
  return any;
}

std::string kind_of(const std::string& path) {
  std::error_code unknown;
  if (fs::is_directory(path, unknown)) {
    if (fs::exists(fs::path(path) / "data.mdb", unknown)) return "lmdb";
    return holds_shards(path) ? "tar" : "folder";
  }
  if (fs::exists(path, unknown)) {
    if (has_ending(path, ".tar")) return "tar";
    return has_ending(path, ".mdb") ? "lmdb" : "list";
  }
  if (is_pattern(path) && has_ending(path, ".tar")) return "tar";
  throw Error(path, "a folder of classes, a list, .tar files or an LMDB environment", "nothing there",
              "checking the path");
}

}  // namespace

std::shared_ptr<const DataSet> open_data_set(const DataSource& source) {
  if (source.path.empty()) throw Error("data", "a path", "none");
  if (source.classes < 0) {
    throw Error(source.path, "a number of classes of 1 or more, or 0 for any",
                fmt::format("{}", source.classes));
  }
  try {
    const std::string kind = source.kind.empty() ? kind_of(source.path) : source.kind;
    if (kind == "folder") return data::open_folder(source);
    if (kind == "list") return data::open_list(source);
    if (kind == "tar") return data::open_tar(source);
    if (kind == "lmdb") return data::open_lmdb(source);
    throw Error(source.path, "data of the kind folder, list, tar or lmdb", kind);
  } catch (const fs::filesystem_error& error) {
    throw Error(error.path1().string(), "something that can be read", error.code().message(),
                "checking its permissions");
  }
}

namespace data {

bool is_photo_name(std::string_view name) {
  name = name.substr(name.rfind('/') + 1);
  if (name.starts_with("._")) return false;
  const std::size_t dot = name.rfind('.');
  if (dot == std::string_view::npos) return false;
  std::string ending(name.substr(dot + 1));
  std::ranges::transform(ending, ending.begin(), [](char c) {
    return c >= 'A' && c <= 'Z' ? static_cast<char>(c - 'A' + 'a') : c;
  });
  constexpr std::string_view kKnown[] = {"jpg", "jpeg", "png", "ppm", "pgm"};
  return std::ranges::find(kKnown, ending) != std::end(kKnown);
}

std::optional<std::int64_t> parse_label(std::string_view text) {
  constexpr std::string_view kSpaces = " \t\r\n";
  const std::size_t first = text.find_first_not_of(kSpaces);
  if (first == std::string_view::npos) return {};
  text = text.substr(first, text.find_last_not_of(kSpaces) - first + 1);
  std::int64_t label = 0;
  const auto [end, failed] = std::from_chars(text.data(), text.data() + text.size(), label);
  if (failed != std::errc() || end != text.data() + text.size()) return {};
  return label;
}

namespace {

class Descriptor {
 public:
  explicit Descriptor(const std::string& path)
      : fd_(::open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK)) {
    if (fd_ < 0) throw system_error(path, "a photo that can be read", "checking the path");
  }
  Descriptor(const Descriptor&) = delete;
  Descriptor& operator=(const Descriptor&) = delete;
  ~Descriptor() { ::close(fd_); }
  int get() const { return fd_; }

 private:
  int fd_;
};

void require_content(const std::string& path, int failed, const struct stat& info) {
  if (failed != 0) throw system_error(path, "a photo that can be read", "checking the path");
  if (!S_ISREG(info.st_mode)) {
    throw Error(path, "a photo", S_ISDIR(info.st_mode) ? "a folder" : "something that is no file");
  }
  if (info.st_size == 0) throw Error(path, "a photo", "0 bytes", "fetching the file again");
  constexpr auto kMost = std::int64_t{1} << 31;
  if (info.st_size > kMost)
    throw Error(path, "a photo, of 2 GiB at most", human_bytes(static_cast<double>(info.st_size)));
}

}  // namespace

std::span<const std::byte> read_file(const std::string& path, std::vector<std::byte>& scratch) {
  const Descriptor file(path);
  struct stat info {};
  require_content(path, ::fstat(file.get(), &info), info);
  const auto size = static_cast<std::size_t>(info.st_size);
  if (scratch.size() < size) scratch.resize(size);
  std::size_t done = 0;
  while (done < size) {
    const ssize_t count = ::read(file.get(), scratch.data() + done, size - done);
    if (count < 0 && errno == EINTR) continue;
    if (count < 0) throw system_error(path, "a photo that can be read");
    if (count == 0) break;  // it became shorter; the decoder will say so
    done += static_cast<std::size_t>(count);
  }
  return std::span<const std::byte>(scratch).first(done);
}

void require_file(const std::string& path) {
  struct stat info {};
  require_content(path, ::stat(path.c_str(), &info), info);
  if (::access(path.c_str(), R_OK) != 0) throw system_error(path, "a photo that can be read");
}

}  // namespace data
}  // namespace maru
