// DataSet: labelled photos, by index. Open one with open_data_set; it is never changed afterwards, and
// any number of threads may read from it at once. Photos stay where they are (files, archives, a
// database) until they are read; what is kept is an index. docs/data.md describes the kinds.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "base/error.h"

namespace maru {

struct DataSource {
  std::string path;          // a folder, a list, a .tar or a pattern of several, an LMDB environment
  std::string root = {};     // for lists: the folder that their paths begin in; "": the list's own
  std::string kind = {};     // "folder", "list", "tar", "lmdb"; "": found out by looking at path
  std::int64_t classes = 0;  // labels must be below this; 0: not known
  std::optional<std::int64_t> ignored = {};  // a label beside them, of what is not to be told
};

// A photo as it is stored.
struct StoredPhoto {
  std::span<const std::byte> bytes;  // a JPEG, PNG, PPM or PGM file; or raw planes
  int channels = 0;                  // of raw planes, 1 or 3 (blue, green, red); 0: a file
  int height = 0, width = 0;         // of raw planes
  std::int64_t label = 0;
};

// What DataSet::check found.
struct DataCheck {
  std::int64_t samples = 0;        // that were looked at: all
  std::int64_t bad = 0;            // that cannot be read, or have a label that is out of range
  std::vector<std::string> first;  // what is wrong with the first of them
};

class DataSet {
 public:
  virtual ~DataSet() = default;
  DataSet(const DataSet&) = delete;
  DataSet& operator=(const DataSet&) = delete;

  virtual std::int64_t size() const = 0;  // 1 or more
  // 0 <= index < size(). Throws Error where a stored label cannot be read.
  virtual std::int64_t label(std::int64_t index) const = 0;
  // How messages call it: a path, "shard.tar: cat.jpg", "train_lmdb: key 00000012".
  virtual std::string name(std::int64_t index) const = 0;
  // The photo's bytes lie in the data set's own mappings or in `scratch`, whose content is replaced;
  // they stay valid as long as both. Throws Error (with name()) when the photo is not there or the
  // archive around it is damaged; whether it can be decoded shows later.
  virtual StoredPhoto read(std::int64_t index, std::vector<std::byte>& scratch) const = 0;

  // The classes' names by label, where the data set has them (folders); else empty.
  const std::vector<std::string>& class_names() const { return class_names_; }
  // How many classes there are: as DataSource said, else as many as there are names; 0: not known.
  std::int64_t classes() const { return classes_; }
  // Throws Error when the label is negative, or not below a known number of classes, and not the one
  // that is ignored.
  void require_label(std::int64_t index, std::int64_t label) const;

  // Looks at each sample without decoding it: is it there, whole, its label in range? Describes the
  // first `most` that are not.
  DataCheck check(std::int64_t most = 10) const;
  // Whether that takes no reading, of files that somebody has listed.
  virtual bool is_quick_to_check() const { return false; }

 protected:
  DataSet() = default;
  // As cheap as it can be: throws Error where the photo cannot be read. read() unless overridden.
  virtual void probe(std::int64_t index, std::vector<std::byte>& scratch) const;

  std::vector<std::string> class_names_;
  std::int64_t classes_ = 0;
  std::optional<std::int64_t> ignored_;
};

// Throws Error when the path is not there or of no known kind, a list has a line that is none (with its
// number) or a label that is out of range, a class folder is empty (with its name), an archive or the
// database is damaged, or there are no samples at all. Missing files of a list are no error here:
// reading finds them one by one, check() all at once.
std::shared_ptr<const DataSet> open_data_set(const DataSource& source);

}  // namespace maru
