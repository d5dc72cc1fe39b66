// A folder per class: the classes are its folders, sorted; a class's photos are all below its folder.
#include <algorithm>
#include <filesystem>

#include "data/kinds.h"

namespace maru::data {
namespace {

namespace fs = std::filesystem;

class Folder final : public DataSet {
 public:
  explicit Folder(const DataSource& source) : root_(source.path) {
    std::vector<std::string> names;
    for (const fs::directory_entry& entry : fs::directory_iterator(root_)) {
      std::string name = entry.path().filename().string();
      if (entry.is_directory() && !name.starts_with('.')) names.push_back(std::move(name));
    }
    if (names.empty()) {
      throw Error(source.path, "a folder with one folder for each class", "no folders",
                  "a list file, for photos that lie otherwise");
    }
    std::ranges::sort(names);
    classes_ = source.classes != 0 ? source.classes : static_cast<std::int64_t>(names.size());
    if (static_cast<std::int64_t>(names.size()) > classes_) {
      throw Error(source.path, fmt::format("folders of {} classes", classes_),
                  fmt::format("{} folders", names.size()), "as many outputs as there are classes");
    }
    class_names_ = std::move(names);
    for (const std::string& name : class_names_) add_class(name);
  }

  std::int64_t size() const override { return static_cast<std::int64_t>(photos_.size()); }
  std::int64_t label(std::int64_t index) const override {
    const auto after = std::ranges::upper_bound(first_, index);
    return after - first_.begin() - 1;
  }
  std::string name(std::int64_t index) const override {
    const std::string& folder = class_names_[static_cast<std::size_t>(label(index))];
    return (root_ / folder / photos_[static_cast<std::size_t>(index)]).string();
  }
  StoredPhoto read(std::int64_t index, std::vector<std::byte>& scratch) const override {
    return {read_file(name(index), scratch), 0, 0, 0, label(index)};
  }

 protected:
  void probe(std::int64_t index, std::vector<std::byte>& /*scratch*/) const override {
    require_file(name(index));
  }

 private:
  void add_class(const std::string& name) {
    const fs::path folder = root_ / name;
    std::vector<std::string> found;
    const auto links = fs::directory_options::follow_directory_symlink;
    for (const fs::directory_entry& entry : fs::recursive_directory_iterator(folder, links)) {
      if (!is_photo_name(entry.path().native()) || entry.is_directory()) continue;
      found.push_back(entry.path().lexically_relative(folder).string());
    }
    if (found.empty()) {
      throw Error(folder.string(), fmt::format("photos of a class ({})", kPhotoNames), "none",
                  "removing the folder, if it is no class");
    }
    std::ranges::sort(found);
    first_.push_back(size());
    for (const std::string& photo : found) photos_.add(photo);
  }

  fs::path root_;
  Texts photos_;                     // below the folder of their class
  std::vector<std::int64_t> first_;  // of each class
};

}  // namespace

std::shared_ptr<const DataSet> open_folder(const DataSource& source) {
  return std::make_shared<const Folder>(source);
}

}  // namespace maru::data
