// What the program says: Output is standard output (results, nothing else), the rest is standard error.
// Used by one thread.
#pragma once

#include <fmt/format.h>

#include <exception>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace maru::cli {

// The reader of standard output has gone (maru plan | head): no failure, but nothing more to do.
struct ReaderGone {};

class Output {
 public:
  Output();

  bool colour() const { return colour_; }  // a terminal, and NO_COLOR is not set
  // Both throw Error when the text cannot be written, and ReaderGone.
  void write(std::string_view text);
  void flush();
  template <class... Args>
  void print(fmt::format_string<Args...> format, Args&&... args) {
    write(fmt::format(format, std::forward<Args>(args)...));
  }

 private:
  std::string pending_;
  bool colour_ = false;
};

// Writes a line on standard error, in the place of the progress bar if one stands there.
void complain(std::string_view message);

// A bar on standard error; silent unless that is a terminal and there are at least two items.
class Progress {
 public:
  explicit Progress(std::size_t total);
  ~Progress();
  Progress(const Progress&) = delete;
  Progress& operator=(const Progress&) = delete;

  void show(std::size_t done);
  static void wipe();  // removes the bar before something else is written

 private:
  std::size_t total_;
};

// A line on standard error that is written over and over; silent unless that is a terminal.
class StatusLine {
 public:
  StatusLine();
  ~StatusLine() { Progress::wipe(); }
  StatusLine(const StatusLine&) = delete;
  StatusLine& operator=(const StatusLine&) = delete;

  bool is_shown() const { return is_terminal_; }
  void show(std::string_view text);

 private:
  bool is_terminal_;
};

// Columns as wide as their widest cell, two spaces between; `align` has '<' or '>' for each column.
std::string table(std::string_view align, const std::vector<std::vector<std::string>>& rows);

std::string grouped(std::int64_t number);  // 6998552 -> "6,998,552"

}  // namespace maru::cli
