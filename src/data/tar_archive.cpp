#include "data/tar_archive.h"

#include <algorithm>
#include <charconv>
#include <optional>
#include <string>
#include <unordered_map>

#include "base/error.h"

namespace maru::data {
namespace {

constexpr std::size_t kBlock = 512;

std::string_view text_at(std::string_view block, std::size_t at, std::size_t most) {
  const std::string_view field = block.substr(at, most);
  return field.substr(0, std::min(field.find('\0'), field.size()));
}

// Octal digits, or GNU's base 256 where the first bit is set.
std::optional<std::uint64_t> number_at(std::string_view block, std::size_t at, std::size_t length) {
  std::string_view field = block.substr(at, length);
  std::uint64_t value = 0;
  if ((static_cast<unsigned char>(field[0]) & 0x80U) != 0) {
    if ((static_cast<unsigned char>(field[0]) & 0x7FU) != 0) return {};  // negative, or absurd
    for (const char c : field.substr(1)) {
      if (value >> 56 != 0) return {};
      value = value << 8 | static_cast<unsigned char>(c);
    }
    return value;
  }
  const std::size_t first = std::min(field.find_first_not_of(' '), field.size());
  field.remove_prefix(first);
  field = field.substr(0, std::min(field.find_first_of(std::string_view(" \0", 2)), field.size()));
  const auto [end, failed] = std::from_chars(field.data(), field.data() + field.size(), value, 8);
  if (field.empty()) return 0;
  if (failed != std::errc() || end != field.data() + field.size()) return {};
  return value;
}

bool checks(std::string_view block) {
  const auto wanted = number_at(block, 148, 8);
  std::uint64_t sum = 0;
  for (std::size_t i = 0; i < kBlock; ++i) {
    sum += i >= 148 && i < 156 ? ' ' : static_cast<unsigned char>(block[i]);
  }
  return wanted == sum;
}

bool is_zero(std::string_view block) {
  return std::ranges::all_of(block, [](char c) { return c == '\0'; });
}

}  // namespace

class TarArchive::Walk {
 public:
  explicit Walk(TarArchive& archive) : archive_(archive), text_(archive.file_.text()) {}

  void run() {
    while (true) {
      if (text_.size() - at_ < kBlock)
        fail("two blocks of zeros at the end", "the end of the file before");
      const std::string_view header = text_.substr(at_, kBlock);
      if (is_zero(header)) return;
      if (!checks(header)) fail("the header of an entry", "a block whose checksum is wrong");
      entry(header);
    }
  }

 private:
  [[noreturn]] void fail(std::string_view expected, std::string_view got) const {
    const bool begin = at_ == 0;
    throw Error(fmt::format("{}: byte {}", archive_.path_, at_), begin ? "a tar archive" : expected,
                begin ? "another kind of file, or a damaged one" : got,
                begin ? "unpacking it first, if it is compressed" : "copying or downloading it again");
  }

  void entry(std::string_view header) {
    const auto written = number_at(header, 124, 12);
    const char type = header[156];
    const bool described = pax_size_.has_value() && type != 'x' && type != 'g';
    if (!written && !described) fail("an entry's size", "no number");
    const std::uint64_t size = described ? *pax_size_ : *written;
    const std::size_t begin = at_ + kBlock;
    if (size > text_.size() - begin) {
      fail(fmt::format("an entry of {} bytes", size), "the end of the file before");
    }
    const std::string_view content = text_.substr(begin, static_cast<std::size_t>(size));
    switch (type) {
      case 'L':  // GNU: the next entry's name
        long_name_ = content.substr(0, std::min(content.find('\0'), content.size()));
        break;
      case 'K':  // GNU: what the next entry links to
        long_link_ = content.substr(0, std::min(content.find('\0'), content.size()));
        break;
      case 'g':  // pax: what holds for all; names do not
        break;
      case 'x':
        pax(content);
        break;
      default:
        if (type == '0' || type == '\0' || type == '7') add(header, {begin, content.size()});
        if (type == '1') add(header, place_of_link(header));
        long_name_.clear();
        long_link_.clear();
        pax_name_.clear();
        pax_link_.clear();
        pax_size_.reset();
    }
    const std::size_t padded = (content.size() + kBlock - 1) / kBlock * kBlock;
    if (padded > text_.size() - begin) fail("a whole block", "the end of the file before");
    at_ = begin + padded;
  }

  // Records of "LENGTH KEY=VALUE\n", the length counting all of it.
  void pax(std::string_view records) {
    while (!records.empty()) {
      std::size_t length = 0;
      const auto [end, failed] =
          std::from_chars(records.data(), records.data() + records.size(), length);
      const auto digits = static_cast<std::size_t>(end - records.data());
      if (failed != std::errc() || length > records.size() || length < digits + 2 ||
          records[length - 1] != '\n') {
        fail("records of a pax header", "damaged ones");
      }
      const std::string_view record = records.substr(digits + 1, length - digits - 2);
      const std::size_t equals = std::min(record.find('='), record.size());
      const std::string_view key = record.substr(0, equals);
      const std::string_view value = record.substr(std::min(equals + 1, record.size()));
      if (key == "path") pax_name_ = value;
      if (key == "linkpath") pax_link_ = value;
      if (key == "size") {
        std::uint64_t size = 0;
        const auto parsed = std::from_chars(value.data(), value.data() + value.size(), size);
        if (parsed.ec != std::errc() || parsed.ptr != value.data() + value.size()) {
          fail("a pax size", "no number");
        }
        pax_size_ = size;
      }
      records.remove_prefix(length);
    }
  }

  static std::string_view without_dot(std::string_view name) {
    return name.starts_with("./") ? name.substr(2) : name;
  }

  // A hard link is another name of a file that has come before.
  Place place_of_link(std::string_view header) {
    std::string_view target = text_at(header, 157, 100);
    if (!long_link_.empty()) target = long_link_;
    if (!pax_link_.empty()) target = pax_link_;
    for (; looked_at_ < archive_.places_.size(); ++looked_at_)
      linked_to_.insert_or_assign(std::string(archive_.names_[looked_at_]), looked_at_);
    const auto found = linked_to_.find(std::string(without_dot(target)));
    if (found == linked_to_.end())
      fail("a hard link to a file before it", fmt::format("one to \"{}\"", target));
    return archive_.places_[found->second];
  }

  void add(std::string_view header, Place place) {
    std::string name(text_at(header, 0, 100));
    const bool ustar = header.substr(257, 6) == std::string_view("ustar\0", 6);
    if (const std::string_view prefix = text_at(header, 345, 155); ustar && !prefix.empty()) {
      name = fmt::format("{}/{}", prefix, name);
    }
    if (!long_name_.empty()) name = long_name_;
    if (!pax_name_.empty()) name = pax_name_;
    archive_.names_.add(without_dot(name));
    archive_.places_.push_back(place);
  }

  TarArchive& archive_;
  std::string_view text_;
  std::size_t at_ = 0;
  std::string long_name_, long_link_, pax_name_, pax_link_;
  std::unordered_map<std::string, std::size_t> linked_to_;  // entries by name, as far as a link was met
  std::size_t looked_at_ = 0;                               // how many of them
  std::optional<std::uint64_t> pax_size_;
};

TarArchive::TarArchive(const std::filesystem::path& path) : path_(path.string()), file_(path) {
  Walk(*this).run();
}

}  // namespace maru::data
