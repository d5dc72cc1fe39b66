#include "train/curve_file.h"

#include <fcntl.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <charconv>
#include <fstream>
#include <iterator>

#include "base/error.h"

namespace maru {
namespace {

constexpr std::size_t kOwnColumns = 3;

std::string quoted(const std::string& cell) {
  if (cell.find_first_of(",\"\n") == std::string::npos) return cell;
  std::string text = "\"";
  for (const char c : cell) text += c == '"' ? "\"\"" : std::string(1, c);
  return text + '"';
}

// Cells of one line (RFC 4180, without line breaks in cells).
std::vector<std::string> cells_of(std::string_view line) {
  std::vector<std::string> cells{""};
  bool is_quoted = false;
  for (std::size_t i = 0; i < line.size(); ++i) {
    const char c = line[i];
    if (c == '"' && is_quoted && i + 1 < line.size() && line[i + 1] == '"') {
      cells.back() += line[++i];
    } else if (c == '"') {
      is_quoted = !is_quoted;
    } else if (c == ',' && !is_quoted) {
      cells.emplace_back();
    } else {
      cells.back() += c;
    }
  }
  return cells;
}

std::optional<double> number_in(const std::string& cell, const std::string& where) {
  if (cell.empty()) return std::nullopt;
  double value = 0;
  const auto [end, error] = std::from_chars(cell.data(), cell.data() + cell.size(), value);
  if (error == std::errc::result_out_of_range) return value;
  if (error != std::errc() || end != cell.data() + cell.size())
    throw Error(where, "a number or nothing in each cell", fmt::format("\"{}\"", cell),
                "a file that maru train --csv wrote");
  return value;
}

std::string line_of(const std::vector<std::optional<double>>& row) {
  std::string line;
  for (std::size_t i = 0; i < row.size(); ++i) {
    if (i > 0) line += ',';
    if (row[i]) line += fmt::format("{}", *row[i]);
  }
  return line + '\n';
}

}  // namespace

std::optional<std::size_t> Curves::find(std::string_view column) const {
  const auto found = std::ranges::find(columns, column);
  if (found == columns.end()) return std::nullopt;
  return static_cast<std::size_t>(found - columns.begin());
}

Curves read_curves(const std::filesystem::path& path) {
  std::ifstream file(path, std::ios::binary);
  if (!file) throw system_error(path.string(), "a CSV file that can be read");
  const std::string text{std::istreambuf_iterator<char>(file), {}};
  Curves curves;
  std::string_view rest = text;
  for (int line = 1;; ++line) {
    const std::size_t end = rest.find('\n');
    if (end == std::string_view::npos) break;
    std::string_view one = rest.substr(0, end);
    rest.remove_prefix(end + 1);
    if (one.ends_with('\r')) one.remove_suffix(1);
    const std::vector<std::string> cells = cells_of(one);
    const std::string where = fmt::format("{}:{}", path.string(), line);
    if (curves.columns.empty()) {
      if (cells[0] != kIterationColumn)
        throw Error(where, fmt::format("a header that begins with \"{}\"", kIterationColumn),
                    fmt::format("\"{}\"", cells[0]), "a file that maru train --csv wrote");
      curves.columns = cells;
      continue;
    }
    if (cells.size() != curves.columns.size())
      throw Error(where, fmt::format("{} cells, as the header has", curves.columns.size()),
                  fmt::format("{}", cells.size()));
    std::vector<std::optional<double>>& row = curves.rows.emplace_back();
    for (const std::string& cell : cells) row.push_back(number_in(cell, where));
    if (!row[0]) throw Error(where, "an iteration in the first cell", "nothing");
  }
  if (curves.columns.empty())
    throw Error(path.string(), "a header line", "an empty file", "a file that maru train --csv wrote");
  return curves;
}

CurveFile::CurveFile(std::filesystem::path path, std::vector<std::string> columns,
                     std::optional<std::int64_t> resumed_at)
    : path_(std::move(path)), columns_(std::move(columns)) {
  columns_.insert(columns_.begin(), {kIterationColumn, kEpochColumn, kSecondsColumn});
  std::string text;
  for (const std::string& column : columns_) text += (text.empty() ? "" : ",") + quoted(column);
  text += '\n';
  std::error_code none;
  if (resumed_at && std::filesystem::is_regular_file(path_, none) &&
      std::filesystem::file_size(path_, none) > 0) {
    const Curves before = read_curves(path_);
    if (before.columns != columns_)
      throw Error(path_.string(), fmt::format("the columns {}", text.substr(0, text.size() - 1)),
                  fmt::format("{}", fmt::join(before.columns, ",")), "another name for the CSV file");
    for (const auto& row : before.rows) {
      if (*row[0] < static_cast<double>(*resumed_at)) text += line_of(row);
    }
  }
  // What is kept is written beside it first: a kill meanwhile must not lose the curve so far.
  const bool is_file = !std::filesystem::exists(path_, none) || std::filesystem::is_regular_file(path_);
  std::filesystem::path written = path_;
  if (is_file) written += fmt::format(".{}.tmp", ::getpid());
  fd_ = ::open(written.c_str(), O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC | (is_file ? O_TRUNC : 0),
               0666);
  if (fd_ < 0) throw system_error(path_.string(), "a file that can be written");
  try {
    write(text);
    if (is_file && ::rename(written.c_str(), path_.c_str()) != 0)
      throw system_error(path_.string(), "a file that can be replaced");
  } catch (...) {
    ::close(fd_);
    if (is_file) ::unlink(written.c_str());
    throw;
  }
}

CurveFile::~CurveFile() { ::close(fd_); }

void CurveFile::add(const CurvePoint& point) {
  std::vector<std::optional<double>> row(columns_.size());
  row[0] = static_cast<double>(point.iteration);
  row[1] = point.epoch;
  row[2] = point.seconds;
  for (const auto& [name, value] : point.values) {
    const auto column = std::find(columns_.begin() + kOwnColumns, columns_.end(), name);
    if (column != columns_.end()) row[static_cast<std::size_t>(column - columns_.begin())] = value;
  }
  write(line_of(row));
}

void CurveFile::write(const std::string& text) {
  std::string_view rest = text;
  while (!rest.empty()) {
    const ssize_t done = ::write(fd_, rest.data(), rest.size());
    if (done < 0 && errno == EINTR) continue;
    if (done <= 0) throw system_error(path_.string(), "room for the curves");
    rest.remove_prefix(static_cast<std::size_t>(done));
  }
}

}  // namespace maru
