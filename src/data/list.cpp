// A list of photos, one "path label" a line, as Caffe's ImageData layer reads it; the photos are files,
// or lie in .zip archives beside the list.
#include <algorithm>
#include <filesystem>
#include <unordered_map>

#include "base/mapped_file.h"
#include "data/kinds.h"
#include "data/zip_archive.h"

namespace maru::data {
namespace {

namespace fs = std::filesystem;

// As archives write names: without "./" or "/" before.
std::string_view archived_name(std::string_view path) {
  while (path.starts_with("./")) path.remove_prefix(2);
  while (path.starts_with('/')) path.remove_prefix(1);
  return path;
}

class List final : public DataSet {
 public:
  explicit List(const DataSource& source) : file_(source.path) {
    classes_ = source.classes;
    ignored_ = source.ignored;
    root_ = source.root.empty() ? fs::path(source.path).parent_path().string() : source.root;
    absolute_ = source.root.empty();
    parse();
    if (labels_.empty()) {
      throw Error(file_, "lines of \"path label\"", "none", "checking the list");
    }
    find_in_archives();
    // Caffe has paths begin where it was started, if no root is given.
    std::error_code none;
    if (source.root.empty() && archived(0) == nullptr && !fs::exists(path(0), none) &&
        fs::exists(fs::path(paths_[0]), none))
      root_.clear();
  }

  bool is_quick_to_check() const override { return places_.empty(); }

  std::int64_t size() const override { return static_cast<std::int64_t>(labels_.size()); }
  std::int64_t label(std::int64_t index) const override {
    return labels_[static_cast<std::size_t>(index)];
  }
  std::string name(std::int64_t index) const override {
    const auto i = static_cast<std::size_t>(index);
    if (const Place* place = archived(i)) {
      return fmt::format("{}: {}", archives_[place->archive].path(), entry(*place).name);
    }
    return path(i);
  }
  StoredPhoto read(std::int64_t index, std::vector<std::byte>& scratch) const override {
    const auto i = static_cast<std::size_t>(index);
    const Place* place = archived(i);
    const auto bytes = place != nullptr ? archives_[place->archive].read(entry(*place), scratch)
                                        : read_file(path(i), scratch);
    return {bytes, 0, 0, 0, labels_[i]};
  }

 protected:
  void probe(std::int64_t index, std::vector<std::byte>& scratch) const override {
    const auto i = static_cast<std::size_t>(index);
    if (archived(i) != nullptr) {
      read(index, scratch);
    } else {
      require_file(path(i));
    }
  }

 private:
  struct Place {
    static constexpr std::uint32_t kNone = ~std::uint32_t{0};
    std::uint32_t archive = kNone, entry = 0;
  };

  void parse() {
    // A list may be written anew while it is used, so nothing of the mapping is kept.
    const MappedFile mapped(file_);
    std::string_view rest = mapped.text();
    if (rest.starts_with("\xEF\xBB\xBF")) rest.remove_prefix(3);
    if (rest.starts_with("\x1F\x8B"))
      throw Error(file_, "a list, or an archive (.tar) that is not compressed", "gzip", "gunzip");
    if (rest.starts_with("\xFF\xD8\xFF") || rest.starts_with("\x89PNG"))
      throw Error(file_, "a list, \"path label\" a line", "a photo", "a list or folders of photos");
    for (std::int64_t line = 1; !rest.empty(); ++line) {
      const std::size_t end = std::min(rest.find('\n'), rest.size());
      add(rest.substr(0, end), line);
      rest.remove_prefix(std::min(end + 1, rest.size()));
    }
  }

  void add(std::string_view line, std::int64_t number) {
    constexpr std::string_view kSpaces = " \t\r";
    const std::size_t last = line.find_last_not_of(kSpaces);
    if (last == std::string_view::npos) return;
    line = line.substr(0, last + 1);
    const std::size_t gap = line.find_last_of(" \t");
    const auto fail = [&](std::string_view expected, std::string_view got, std::string_view hint) {
      throw Error(fmt::format("{}:{}", file_, number), expected, got, hint);
    };
    constexpr std::size_t kShown = 80;
    if (line.find('\0') != std::string_view::npos) {
      fail("a line of text, \"path label\"", "bytes that are none", "naming the list itself");
    }
    const auto label = parse_label(gap == std::string_view::npos ? "" : line.substr(gap + 1));
    const std::size_t before =
        gap == std::string_view::npos ? gap : line.find_last_not_of(kSpaces, gap);
    if (!label || before == std::string_view::npos) {
      fail("\"path label\", the label a whole number", fmt::format("\"{}\"", line.substr(0, kShown)),
           "a list as Caffe's ImageData layer reads it");
    }
    if (*label != ignored_ && (*label < 0 || (classes_ != 0 && *label >= classes_))) {
      fail(classes_ == 0
               ? std::string("a label of 0 or more")
               : fmt::format("a label from 0 to {}, one of {} classes", classes_ - 1, classes_),
           fmt::format("{}", *label),
           "labels that count from 0, and as many outputs as there are classes");
    }
    paths_.add(line.substr(0, before + 1));
    labels_.push_back(*label);
  }

  void find_in_archives() {
    std::vector<fs::path> found;
    const fs::path folder = root_.empty() ? fs::path(".") : fs::path(root_);
    std::error_code none;
    for (fs::directory_iterator entry(folder, none), end; !none && entry != end;
         entry.increment(none)) {
      if (entry->path().extension() == ".zip") found.push_back(entry->path());
    }
    if (found.empty()) return;
    std::ranges::sort(found);
    std::unordered_map<std::string_view, Place> index;
    archives_.reserve(found.size());
    for (const fs::path& path : found) {
      const auto archive = static_cast<std::uint32_t>(archives_.size());
      const auto entries = archives_.emplace_back(path).entries();
      for (std::size_t i = 0; i < entries.size(); ++i) {
        index.emplace(archived_name(entries[i].name), Place{archive, static_cast<std::uint32_t>(i)});
      }
    }
    places_.resize(labels_.size());
    for (std::size_t i = 0; i < places_.size(); ++i) {
      const auto at = index.find(archived_name(paths_[i]));
      if (at != index.end()) places_[i] = at->second;
    }
  }

  const Place* archived(std::size_t i) const {
    return places_.empty() || places_[i].archive == Place::kNone ? nullptr : &places_[i];
  }
  const ZipArchive::Entry& entry(const Place& place) const {
    return archives_[place.archive].entries()[place.entry];
  }

  // Caffe puts a root before every path; without one, absolute paths are what they say.
  std::string path(std::size_t i) const {
    const std::string_view listed = paths_[i];
    if (root_.empty() || (absolute_ && listed.starts_with('/'))) return std::string(listed);
    const bool joined = root_.ends_with('/') || listed.starts_with('/');
    return fmt::format("{}{}{}", root_, joined ? "" : "/", listed);
  }

  std::string file_, root_;
  bool absolute_ = false;
  Texts paths_;
  std::vector<std::int64_t> labels_;
  std::vector<ZipArchive> archives_;
  std::vector<Place> places_;  // one a photo; empty where there are no archives
};

}  // namespace

std::shared_ptr<const DataSet> open_list(const DataSource& source) {
  return std::make_shared<const List>(source);
}

}  // namespace maru::data
