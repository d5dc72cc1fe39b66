// EventFile: curves for TensorBoard: an event file in TFRecord framing, one record a call, flushed as
// it is written. Owned by one training run; one thread at a time.
//
// Formats: TensorFlow's core/lib/io/record_writer.h (length, masked CRC-32C of it, bytes, masked
// CRC-32C of these), core/util/event.proto and core/framework/summary.proto (wall_time 1, step 2,
// file_version 3, summary 5; value 1, tag 1, simple_value 2).
#pragma once

#include <cstdint>
#include <filesystem>
#include <span>
#include <string>
#include <string_view>
#include <utility>

namespace maru {

// CRC with the polynomial of Castagnoli (RFC 3720, appendix B.4), as iSCSI has it.
std::uint32_t crc32c(std::string_view bytes);
// As records carry it, so that a record of records has no checksum of itself inside.
std::uint32_t masked(std::uint32_t crc);

// One record: what an event file is a row of.
std::string tf_record(std::string_view bytes);

// A scalar's place among the curves ("train/loss"), and its value.
using Scalars = std::span<const std::pair<std::string, double>>;

class EventFile {
 public:
  // A new file in `folder`, which is made where it is not there. Throws Error.
  explicit EventFile(const std::filesystem::path& folder);
  EventFile(const EventFile&) = delete;
  EventFile& operator=(const EventFile&) = delete;
  ~EventFile();

  const std::filesystem::path& path() const { return path_; }
  // Throws Error where it cannot be written.
  void add(std::int64_t step, Scalars values);

 private:
  void write(std::string_view event);

  std::filesystem::path path_;
  int fd_ = -1;
};

}  // namespace maru
