#include "apps/cli/output.h"

#include <sys/ioctl.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <cerrno>
#include <cstdio>
#include <cstdlib>

#include "base/error.h"

namespace maru::cli {
namespace {

constexpr std::size_t kPendingLimit = 65536;

std::atomic<bool> bar_shown = false;  // complaints come from any thread

bool plain_terminal() {
  const char* term = std::getenv("TERM");
  return term == nullptr || std::string_view(term) == "dumb";
}

// Characters rather than bytes, so that names in UTF-8 stay aligned.
std::size_t width(std::string_view text) {
  return static_cast<std::size_t>(std::ranges::count_if(
      text, [](char c) { return (static_cast<unsigned char>(c) & 0xC0) != 0x80; }));
}

// Where standard error itself fails there is nobody left to tell.
void say(const std::string& text) { std::fputs(text.c_str(), stderr); }

}  // namespace

Output::Output() {
  const char* no_color = std::getenv("NO_COLOR");  // no-color.org: set and not empty
  colour_ =
      ::isatty(STDOUT_FILENO) == 1 && !plain_terminal() && (no_color == nullptr || *no_color == '\0');
}

void Output::write(std::string_view text) {
  pending_ += text;
  if (pending_.size() >= kPendingLimit) flush();
}

void Output::flush() {
  if (!pending_.empty()) Progress::wipe();
  std::string_view rest = pending_;
  while (!rest.empty()) {
    const ssize_t written = ::write(STDOUT_FILENO, rest.data(), rest.size());
    if (written > 0) {
      rest.remove_prefix(static_cast<std::size_t>(written));
    } else if (written < 0 && errno == EPIPE) {
      pending_.clear();
      throw ReaderGone{};
    } else if (written == 0 || errno != EINTR) {
      throw system_error("standard output", "room for the results", "another place for them");
    }
  }
  pending_.clear();
}

void complain(std::string_view message) {
  Progress::wipe();
  say(fmt::format("{}\n", message));
}

Progress::Progress(std::size_t total)
    : total_(total > 1 && ::isatty(STDERR_FILENO) == 1 && !plain_terminal() ? total : 0) {}

Progress::~Progress() { wipe(); }

void Progress::show(std::size_t done) {
  if (total_ == 0) return;
  constexpr std::size_t kColumns = 30;
  const std::size_t full = kColumns * std::min(done, total_) / total_;
  say(fmt::format("\r\x1b[K[{:=<{}}{:>{}}] {}/{}", "", full, "", kColumns - full, done, total_));
  bar_shown = true;
}

void Progress::wipe() {
  if (!bar_shown) return;
  say("\r\x1b[K");
  bar_shown = false;
}

StatusLine::StatusLine() : is_terminal_(::isatty(STDERR_FILENO) == 1 && !plain_terminal()) {}

void StatusLine::show(std::string_view text) {
  if (!is_terminal_) return;
  winsize window{};
  const bool is_known = ::ioctl(STDERR_FILENO, TIOCGWINSZ, &window) == 0 && window.ws_col > 1;
  // A line that wraps could not be written over.
  say(fmt::format("\r\x1b[K{}", text.substr(0, is_known ? window.ws_col - 1U : 79U)));
  bar_shown = true;
}

std::string table(std::string_view align, const std::vector<std::vector<std::string>>& rows) {
  std::vector<std::size_t> widths(align.size(), 0);
  for (const auto& row : rows) {
    for (std::size_t i = 0; i < row.size(); ++i) widths[i] = std::max(widths[i], width(row[i]));
  }
  std::string text;
  for (const auto& row : rows) {
    std::string line;
    for (std::size_t i = 0; i < row.size(); ++i) {
      const std::string padding(widths[i] - width(row[i]), ' ');
      if (i > 0) line += "  ";
      line += align[i] == '>' ? padding + row[i] : row[i] + padding;
    }
    line.erase(line.find_last_not_of(' ') + 1);
    text += line + '\n';
  }
  return text;
}

std::string grouped(std::int64_t number) {
  std::string digits = std::to_string(number);
  const std::ptrdiff_t first = number < 0 ? 1 : 0;
  for (auto at = static_cast<std::ptrdiff_t>(digits.size()) - 3; at > first; at -= 3) {
    digits.insert(static_cast<std::size_t>(at), ",");
  }
  return digits;
}

}  // namespace maru::cli
