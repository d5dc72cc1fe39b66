// Curve files: the figures of a training run as CSV: a header line, then a line whenever figures are
// there, each written at once, so that a kill loses at most the last. What a line does not say is an
// empty cell. Owned by one training run; one thread at a time.
#pragma once

#include <cstdint>
#include <filesystem>
#include <optional>
#include <string>
#include <utility>
#include <vector>

namespace maru {

// The first columns of every file.
inline constexpr const char* kIterationColumn = "iteration";
inline constexpr const char* kEpochColumn = "epoch";
inline constexpr const char* kSecondsColumn = "seconds";

// Figures of one moment of training: columns as CurveFile has them.
struct CurvePoint {
  std::int64_t iteration = 0;  // updates made
  double epoch = 0;            // samples seen, over those of the data set
  double seconds = 0;          // that this run has taken so far
  std::vector<std::pair<std::string, double>> values;
};

// A file that was read: rows as they stand in it, cells in the order of the columns.
struct Curves {
  std::vector<std::string> columns;
  std::vector<std::vector<std::optional<double>>> rows;

  std::optional<std::size_t> find(std::string_view column) const;
};

// A last line without an end is left out. Throws Error with "file:line" for what is no such file.
Curves read_curves(const std::filesystem::path& path);

class CurveFile {
 public:
  // `columns` come behind iteration, epoch and seconds. Where training goes on from `resumed_at`, the
  // lines that the file has before it stay; those of it and behind, which will be written again, go.
  // Throws Error where it cannot be written, or goes on with other columns.
  CurveFile(std::filesystem::path path, std::vector<std::string> columns,
            std::optional<std::int64_t> resumed_at = {});
  CurveFile(const CurveFile&) = delete;
  CurveFile& operator=(const CurveFile&) = delete;
  ~CurveFile();

  // A value whose name is no column is passed over. Throws Error.
  void add(const CurvePoint& point);

 private:
  void write(const std::string& text);

  std::filesystem::path path_;
  std::vector<std::string> columns_;
  int fd_ = -1;
};

}  // namespace maru
