// What the kinds of data sets share; for this room alone. Functions without state; any thread.
#pragma once

#include <cstdint>
#include <filesystem>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "data/data_set.h"

namespace maru::data {

// Each throws Error as open_data_set does.
std::shared_ptr<const DataSet> open_folder(const DataSource& source);
std::shared_ptr<const DataSet> open_list(const DataSource& source);
std::shared_ptr<const DataSet> open_tar(const DataSource& source);
std::shared_ptr<const DataSet> open_lmdb(const DataSource& source);

// .jpg, .jpeg, .png, .ppm, .pgm, in any case. Archives made on a Mac hold a "._NAME" for each file:
// none.
bool is_photo_name(std::string_view name);
inline constexpr std::string_view kPhotoNames = ".jpg, .jpeg, .png, .ppm, .pgm";

// The whole text as a number, spaces around it allowed; nothing where it is none.
std::optional<std::int64_t> parse_label(std::string_view text);

// The whole file. Throws Error when it cannot be read or is empty.
std::span<const std::byte> read_file(const std::string& path, std::vector<std::byte>& scratch);
// Throws Error when the file cannot be read or is empty, without reading it.
void require_file(const std::string& path);

// Many short texts in one piece of memory.
class Texts {
 public:
  void add(std::string_view text) {
    pool_ += text;
    ends_.push_back(pool_.size());
  }
  std::string_view operator[](std::size_t i) const {
    const std::size_t begin = i == 0 ? 0 : ends_[i - 1];
    return std::string_view(pool_).substr(begin, ends_[i] - begin);
  }
  std::size_t size() const { return ends_.size(); }

 private:
  std::string pool_;
  std::vector<std::size_t> ends_;
};

}  // namespace maru::data
