#include "base/cache_folder.h"

#include <fmt/format.h>
#include <unistd.h>

#include <atomic>
#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <fstream>
#include <system_error>

namespace maru {
namespace {

namespace fs = std::filesystem;

// FNV-1a: not for secrets, but for telling texts and damage apart.
template <class Bytes>
std::uint64_t hash(const Bytes& bytes, std::uint64_t seed) {
  std::uint64_t value = seed;
  for (const auto byte : bytes) {
    value ^= static_cast<unsigned char>(byte);
    value *= 0x100000001b3;
  }
  return value;
}

constexpr std::uint64_t kSeed = 0xcbf29ce484222325, kOtherSeed = 0x6d61727520636163;

// What a file begins with. Read on the machine that wrote it, so in its own byte order.
struct Head {
  char mark[8] = {'m', 'a', 'r', 'u', 'k', 'e', 'p', 't'};
  std::uint64_t key = 0, bytes = 0, check = 0;
};

}  // namespace

std::optional<fs::path> cache_folder() {
  const auto variable = [](const char* name) -> const char* {
    const char* value = std::getenv(name);
    return value != nullptr && *value != '\0' ? value : nullptr;
  };
  if (const char* own = variable("MARU_CACHE_DIR")) return fs::path(own);
  if (const char* xdg = variable("XDG_CACHE_HOME")) return fs::path(xdg) / "maru";
  if (const char* home = variable("HOME")) return fs::path(home) / ".cache" / "maru";
  return std::nullopt;
}

std::optional<fs::path> cached_file(std::string_view kind, std::string_view key) {
  const auto folder = cache_folder();
  if (!folder) return std::nullopt;
  return *folder / kind / fmt::format("{:016x}{:016x}", hash(key, kSeed), hash(key, kOtherSeed));
}

std::optional<std::vector<unsigned char>> read_cached(std::string_view kind, std::string_view key) {
  const auto path = cached_file(kind, key);
  if (!path) return std::nullopt;
  std::ifstream file(*path, std::ios::binary);
  Head head;
  const Head wanted;
  if (!file.read(reinterpret_cast<char*>(&head), sizeof head)) return std::nullopt;
  std::error_code error;
  const std::uintmax_t size = fs::file_size(*path, error);
  if (error || std::memcmp(head.mark, wanted.mark, sizeof head.mark) != 0 ||
      head.key != hash(key, kSeed) || head.bytes != size - sizeof head) {
    return std::nullopt;
  }
  std::vector<unsigned char> bytes(head.bytes);
  if (!file.read(reinterpret_cast<char*>(bytes.data()), static_cast<std::streamsize>(bytes.size())) ||
      hash(bytes, kSeed) != head.check) {
    return std::nullopt;
  }
  return bytes;
}

void write_cached(std::string_view kind, std::string_view key, std::span<const unsigned char> bytes) {
  const auto path = cached_file(kind, key);
  if (!path || bytes.empty()) return;
  static std::atomic<unsigned> count{0};
  const fs::path temporary = fmt::format("{}.{}.{}", path->string(), ::getpid(), count++);
  std::error_code error;
  fs::create_directories(path->parent_path(), error);
  if (error) return;
  Head head;
  head.key = hash(key, kSeed);
  head.bytes = bytes.size();
  head.check = hash(bytes, kSeed);
  std::ofstream file(temporary, std::ios::binary);
  file.write(reinterpret_cast<const char*>(&head), sizeof head);
  file.write(reinterpret_cast<const char*>(bytes.data()), static_cast<std::streamsize>(bytes.size()));
  file.close();
  if (file) fs::rename(temporary, *path, error);
  if (!file || error) fs::remove(temporary, error);
}

}  // namespace maru
