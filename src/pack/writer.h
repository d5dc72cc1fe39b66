// PackedWriter: writes a packed model file beside its place and puts it there when it is whole, so that
// a file of that name is never a broken one. Owned and used by one thread; without finish() nothing
// stays.
#pragma once

#include <filesystem>
#include <span>
#include <string>
#include <string_view>

#include "pack/format.h"

namespace maru {

class PackedWriter {
 public:
  // Room for so many sections is kept at the front. Throws Error when the folder cannot be written to.
  PackedWriter(const std::filesystem::path& path, std::size_t sections, std::string_view maru_version);
  PackedWriter(const PackedWriter&) = delete;
  PackedWriter& operator=(const PackedWriter&) = delete;
  ~PackedWriter();

  // A section begins here; append() goes on with it. Weights begin and end at kPackedAlignment.
  void begin_section(std::string name);
  // Throws Error when the disk is full.
  void append(std::span<const std::byte> bytes);
  void append(std::string_view text) { append(std::as_bytes(std::span(text))); }
  // Zeros until the section has so many bytes.
  void fill_to(std::size_t section_bytes);
  std::size_t section_bytes() const { return header_.sections.back().bytes; }

  // The file as it lies on the disk, whole but under another name, for a look before finish().
  const std::filesystem::path& close();
  // Puts the file in its place; what was there is replaced, or an Error unless `replace`.
  void finish(bool replace);
  const PackedHeader& header() const { return header_; }

 private:
  void write_at_end(std::span<const std::byte> bytes);
  void zeros_at_end(std::size_t count);
  void sync_folder() const;
  [[noreturn]] void fail() const;

  std::filesystem::path path_, written_;
  std::size_t sections_;
  int fd_ = -1;
  PackedHeader header_;
};

}  // namespace maru
