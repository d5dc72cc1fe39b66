#include "apps/cli/cold_start.h"

#include <fcntl.h>
#include <poll.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <utility>

#include "base/error.h"
#include "measure/meter.h"

namespace maru::cli {
namespace {

constexpr const char* kWhere = "cold start";

class Pipe {
 public:
  Pipe() {
    if (::pipe2(ends_.data(), O_CLOEXEC) != 0) throw system_error(kWhere, "a pipe");
  }
  ~Pipe() {
    close(0);
    close(1);
  }
  Pipe(const Pipe&) = delete;
  Pipe& operator=(const Pipe&) = delete;

  int end(std::size_t which) const { return ends_[which]; }
  void close(std::size_t which) {
    if (ends_[which] >= 0) ::close(std::exchange(ends_[which], -1));
  }
  // What is there now; false at the end.
  bool read(std::string& text) {
    char buffer[4096];
    const ssize_t count = ::read(ends_[0], buffer, sizeof buffer);
    if (count > 0) text.append(buffer, static_cast<std::size_t>(count));
    return count > 0 || (count < 0 && errno == EINTR);
  }

 private:
  std::array<int, 2> ends_{-1, -1};
};

}  // namespace

ColdStart start_cold(const std::vector<std::string>& words) {
  std::vector<std::string> all{"maru"};
  all.insert(all.end(), words.begin(), words.end());
  std::vector<char*> arguments;
  for (std::string& word : all) arguments.push_back(word.data());
  arguments.push_back(nullptr);
  Pipe out, err;

  const double begin = measure::now_seconds();
  const pid_t child = ::fork();
  if (child < 0) throw system_error(kWhere, "a process of its own");
  if (child == 0) {  // only what is safe after a fork
    ::dup2(out.end(1), STDOUT_FILENO);
    ::dup2(err.end(1), STDERR_FILENO);
    ::execv("/proc/self/exe", arguments.data());
    ::_exit(127);
  }
  out.close(1);
  err.close(1);

  ColdStart start;
  std::string answer, complaint;
  pollfd wait[2] = {{out.end(0), POLLIN, 0}, {err.end(0), POLLIN, 0}};
  while (wait[0].fd >= 0 || wait[1].fd >= 0) {
    if (::poll(wait, 2, -1) < 0 && errno != EINTR) break;
    if (wait[0].revents != 0) {
      const bool is_first = answer.empty();
      if (!out.read(answer)) wait[0].fd = -1;
      if (is_first && !answer.empty()) start.seconds = measure::now_seconds() - begin;
    }
    if (wait[1].revents != 0 && !err.read(complaint)) wait[1].fd = -1;
  }
  int status = 0;
  rusage usage{};
  while (::wait4(child, &status, 0, &usage) < 0) {
    if (errno != EINTR) throw system_error(kWhere, "the end of a process");
  }
  start.peak_bytes = static_cast<std::uint64_t>(usage.ru_maxrss) * 1024;
  if (!WIFEXITED(status) || WEXITSTATUS(status) != 0 || answer.empty())
    throw Error(kWhere, "an answer of maru classify", complaint.empty() ? "none" : complaint);
  return start;
}

}  // namespace maru::cli
