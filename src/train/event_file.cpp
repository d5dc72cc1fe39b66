#include "train/event_file.h"

#include <fcntl.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <chrono>
#include <protozero/pbf_writer.hpp>

#include "base/error.h"

namespace maru {
namespace {

constexpr std::array<std::uint32_t, 256> make_table() {
  constexpr std::uint32_t kReflected = 0x82F63B78;  // of 0x1EDC6F41
  std::array<std::uint32_t, 256> table{};
  for (std::uint32_t i = 0; i < table.size(); ++i) {
    std::uint32_t crc = i;
    for (int bit = 0; bit < 8; ++bit) crc = (crc >> 1) ^ ((crc & 1) != 0 ? kReflected : 0);
    table[i] = crc;
  }
  return table;
}
constexpr auto kTable = make_table();

// Little-endian, whatever the machine.
template <class T>
void append(std::string& to, T value) {
  for (std::size_t i = 0; i < sizeof(T); ++i) to += static_cast<char>((value >> (8 * i)) & 0xFF);
}

double now() {
  return std::chrono::duration<double>(std::chrono::system_clock::now().time_since_epoch()).count();
}

std::string host_name() {
  std::array<char, 256> name{};
  return ::gethostname(name.data(), name.size() - 1) == 0 ? name.data() : "host";
}

}  // namespace

std::uint32_t crc32c(std::string_view bytes) {
  std::uint32_t crc = ~std::uint32_t{0};
  for (const char byte : bytes)
    crc = (crc >> 8) ^ kTable[(crc ^ static_cast<unsigned char>(byte)) & 0xFF];
  return ~crc;
}

std::uint32_t masked(std::uint32_t crc) { return ((crc >> 15) | (crc << 17)) + 0xA282EAD8; }

std::string tf_record(std::string_view bytes) {
  std::string record;
  append(record, std::uint64_t{bytes.size()});
  append(record, masked(crc32c(record)));
  record += bytes;
  append(record, masked(crc32c(bytes)));
  return record;
}

EventFile::EventFile(const std::filesystem::path& folder) {
  std::error_code failed;
  std::filesystem::create_directories(folder, failed);
  const auto second = static_cast<std::int64_t>(now());
  // A run that begins within the second of another must not write into its file.
  for (int more = 0; fd_ < 0; ++more) {
    path_ = folder /
            fmt::format("events.out.tfevents.{:010}.{}.{}.{}", second, host_name(), ::getpid(), more);
    fd_ = ::open(path_.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0666);
    if (fd_ < 0 && errno != EEXIST)
      throw system_error(path_.string(), "a file that can be written",
                         "another folder for TensorBoard");
  }
  std::string event;
  protozero::pbf_writer writer(event);
  writer.add_double(1, now());
  writer.add_string(3, "brain.Event:2");
  write(event);
}

EventFile::~EventFile() {
  if (fd_ >= 0) ::close(fd_);
}

void EventFile::add(std::int64_t step, Scalars values) {
  std::string event;
  protozero::pbf_writer writer(event);
  writer.add_double(1, now());
  writer.add_int64(2, step);
  {
    protozero::pbf_writer summary(writer, 5);
    for (const auto& [tag, value] : values) {
      protozero::pbf_writer one(summary, 1);
      one.add_string(1, tag);
      one.add_float(2, static_cast<float>(value));
    }
  }
  write(event);
}

void EventFile::write(std::string_view event) {
  const std::string record = tf_record(event);
  std::string_view rest = record;
  while (!rest.empty()) {
    const ssize_t done = ::write(fd_, rest.data(), rest.size());
    if (done < 0 && errno == EINTR) continue;
    if (done <= 0) throw system_error(path_.string(), "room for the curves");
    rest.remove_prefix(static_cast<std::size_t>(done));
  }
}

}  // namespace maru
