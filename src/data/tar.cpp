// Shards: one or more .tar files. Either each photo has its label beside it, NAME.jpg and NAME.cls, as
// webdataset writes them, or photos lie in a folder for each class.
#include <glob.h>

#include <algorithm>
#include <filesystem>
#include <new>
#include <unordered_map>

#include "data/kinds.h"
#include "data/tar_archive.h"

namespace maru::data {
namespace {

namespace fs = std::filesystem;

std::vector<std::string> shards_of(const std::string& path) {
  std::vector<std::string> shards;
  std::error_code unknown;
  if (fs::is_directory(path, unknown)) {
    for (const fs::directory_entry& entry : fs::directory_iterator(path)) {
      if (entry.path().extension() == ".tar") shards.push_back(entry.path().string());
    }
  } else if (fs::exists(path, unknown)) {
    return {path};
  } else {
    glob_t found{};
    const std::unique_ptr<glob_t, void (*)(glob_t*)> release(&found, ::globfree);
    if (::glob(path.c_str(), GLOB_BRACE, nullptr, &found) == GLOB_NOSPACE) throw std::bad_alloc();
    for (std::size_t i = 0; i < found.gl_pathc; ++i) shards.emplace_back(found.gl_pathv[i]);
  }
  if (shards.empty()) {
    throw Error(path, "a .tar file, a folder of them, or a pattern", "nothing that matches",
                "'ls' with the same pattern");
  }
  std::ranges::sort(shards);
  return shards;
}

std::string_view folder_of(std::string_view name) {
  const std::size_t slash = name.rfind('/');
  return slash == std::string_view::npos ? std::string_view() : name.substr(0, slash);
}

// webdataset's: up to the first dot of the file's name.
std::string_view key_of(std::string_view name) {
  const std::size_t base = name.rfind('/') + 1;  // npos + 1 is 0
  return name.substr(0, std::min(name.find('.', base), name.size()));
}

std::string_view ending_of(std::string_view name) {
  const std::string_view key = key_of(name);
  return name.substr(std::min(key.size() + 1, name.size()));
}

class Shards final : public DataSet {
 public:
  explicit Shards(const DataSource& source) {
    classes_ = source.classes;
    ignored_ = source.ignored;
    for (const std::string& path : shards_of(source.path)) archives_.emplace_back(path);
    bool labelled = false;
    for (const TarArchive& archive : archives_) {
      for (std::size_t i = 0; i < archive.size() && !labelled; ++i) {
        labelled = ending_of(archive.name(i)) == "cls";
      }
    }
    if (labelled) {
      for (std::size_t a = 0; a < archives_.size(); ++a) add_labelled(a);
    } else {
      add_folders(source);
    }
    if (photos_.empty()) {
      throw Error(source.path, fmt::format("photos in the archive ({})", kPhotoNames), "none");
    }
  }

  std::int64_t size() const override { return static_cast<std::int64_t>(photos_.size()); }
  std::int64_t label(std::int64_t index) const override { return at(index).label; }
  std::string name(std::int64_t index) const override {
    const Photo& photo = at(index);
    return name_of(archives_[photo.archive], photo.entry);
  }
  StoredPhoto read(std::int64_t index, std::vector<std::byte>& /*scratch*/) const override {
    const Photo& photo = at(index);
    const auto bytes = archives_[photo.archive].content(photo.entry);
    if (bytes.empty()) throw Error(name(index), "a photo", "0 bytes", "packing the archive anew");
    return {bytes, 0, 0, 0, photo.label};
  }

 private:
  struct Photo {
    std::uint32_t archive, entry;
    std::int64_t label;
  };

  static std::string name_of(const TarArchive& archive, std::size_t entry) {
    return fmt::format("{}: {}", archive.path(), archive.name(entry));
  }
  const Photo& at(std::int64_t index) const { return photos_[static_cast<std::size_t>(index)]; }

  void add_labelled(std::size_t a) {
    const TarArchive& archive = archives_[a];
    std::unordered_map<std::string_view, std::int64_t> labels;
    for (std::size_t i = 0; i < archive.size(); ++i) {
      if (ending_of(archive.name(i)) != "cls") continue;
      const auto content = archive.content(i);
      const std::string_view text(reinterpret_cast<const char*>(content.data()), content.size());
      const auto label = parse_label(text);
      const bool in_range = label && *label >= 0 && (classes_ == 0 || *label < classes_);
      if (!in_range) {
        constexpr std::size_t kShown = 40;
        throw Error(name_of(archive, i),
                    classes_ == 0 ? std::string("a label of 0 or more")
                                  : fmt::format("a label from 0 to {}, one of {} classes", classes_ - 1,
                                                classes_),
                    fmt::format("\"{}\"", text.substr(0, kShown)), "labels that count from 0");
      }
      labels.emplace(key_of(archive.name(i)), *label);
    }
    for (std::size_t i = 0; i < archive.size(); ++i) {
      const std::string_view name = archive.name(i);
      // NAME.mask.png is something else about NAME.
      if (!is_photo_name(name) || ending_of(name).find('.') != std::string_view::npos) continue;
      const auto label = labels.find(key_of(name));
      if (label == labels.end()) {
        throw Error(name_of(archive, i), fmt::format("its label beside it, in {}.cls", key_of(name)),
                    "none", "packing the archive anew, or removing the photo");
      }
      photos_.push_back({static_cast<std::uint32_t>(a), static_cast<std::uint32_t>(i), label->second});
    }
  }

  // The class is the first folder in which not all photos are.
  void add_folders(const DataSource& source) {
    std::vector<std::pair<std::uint32_t, std::uint32_t>> found;
    for (std::size_t a = 0; a < archives_.size(); ++a) {
      for (std::size_t i = 0; i < archives_[a].size(); ++i) {
        if (!is_photo_name(archives_[a].name(i))) continue;
        found.emplace_back(static_cast<std::uint32_t>(a), static_cast<std::uint32_t>(i));
      }
    }
    if (found.empty()) return;
    const auto folder = [&](const auto& photo) {
      return folder_of(archives_[photo.first].name(photo.second));
    };
    std::string_view common = folder(found[0]);
    for (const auto& photo : found) {
      const auto holds = [&](std::string_view path) {
        return common.empty() || path == common ||
               (path.starts_with(common) && path[common.size()] == '/');
      };
      while (!holds(folder(photo))) common = folder_of(common);
    }
    std::vector<std::string_view> of_photo;
    for (const auto& photo : found) {
      const std::string_view below =
          folder(photo).substr(std::min(common.empty() ? 0 : common.size() + 1, folder(photo).size()));
      of_photo.push_back(below.substr(0, std::min(below.find('/'), below.size())));
      if (!of_photo.back().empty()) continue;
      throw Error(name_of(archives_[photo.first], photo.second),
                  "a label beside the photo (NAME.cls), or a folder for each class", "neither",
                  "packing the archive anew");
    }
    std::vector<std::string_view> classes = of_photo;
    std::ranges::sort(classes);
    classes.erase(std::unique(classes.begin(), classes.end()), classes.end());
    class_names_.assign(classes.begin(), classes.end());
    const auto count = static_cast<std::int64_t>(classes.size());
    if (classes_ != 0 && count > classes_) {
      throw Error(source.path, fmt::format("folders of {} classes", classes_),
                  fmt::format("{} folders", count), "as many outputs as there are classes");
    }
    if (classes_ == 0) classes_ = count;
    for (std::size_t i = 0; i < found.size(); ++i) {
      const auto place = std::ranges::lower_bound(classes, of_photo[i]) - classes.begin();
      photos_.push_back({found[i].first, found[i].second, place});
    }
  }

  std::vector<TarArchive> archives_;
  std::vector<Photo> photos_;
};

}  // namespace

std::shared_ptr<const DataSet> open_tar(const DataSource& source) {
  return std::make_shared<const Shards>(source);
}

}  // namespace maru::data
