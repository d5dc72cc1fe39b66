#include "measure/meters/program.h"

#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <spawn.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <cmath>
#include <cstring>

#include "base/error.h"
#include "measure/meter.h"

extern char** environ;

namespace maru::measure {
namespace {

constexpr std::size_t kMostBytes = 64 << 10;

struct Pipe {
  int ends[2] = {-1, -1};
  Pipe() {
    if (::pipe2(ends, O_CLOEXEC) != 0) throw system_error("meter", "a pipe");
  }
  ~Pipe() {
    close(0);
    close(1);
  }
  Pipe(const Pipe&) = delete;
  Pipe& operator=(const Pipe&) = delete;
  void close(int end) {
    if (ends[end] >= 0) ::close(ends[end]);
    ends[end] = -1;
  }
};

// Kills what has not ended by itself, so that none is left behind when something throws.
struct Child {
  pid_t id = -1;
  int wait() {
    int status = 0;
    while (::waitpid(id, &status, 0) < 0 && errno == EINTR) continue;
    id = -1;
    return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
  }
  ~Child() {
    if (id < 0) return;
    ::kill(-id, SIGKILL);
    wait();
  }
};

}  // namespace

ProgramOutput run_program(const std::string& where, const std::vector<std::string>& arguments,
                          double seconds) {
  Pipe out, err;
  std::vector<char*> words;
  words.reserve(arguments.size() + 1);
  for (const std::string& argument : arguments) words.push_back(const_cast<char*>(argument.c_str()));
  words.push_back(nullptr);

  posix_spawn_file_actions_t actions;
  posix_spawnattr_t attributes;
  ::posix_spawn_file_actions_init(&actions);
  ::posix_spawn_file_actions_addopen(&actions, 0, "/dev/null", O_RDONLY, 0);
  ::posix_spawn_file_actions_adddup2(&actions, out.ends[1], 1);
  ::posix_spawn_file_actions_adddup2(&actions, err.ends[1], 2);
  ::posix_spawnattr_init(&attributes);
  ::posix_spawnattr_setflags(&attributes, POSIX_SPAWN_SETPGROUP);  // killed with what it starts
  Child child;
  const int failed = ::posix_spawnp(&child.id, words[0], &actions, &attributes, words.data(), environ);
  ::posix_spawn_file_actions_destroy(&actions);
  ::posix_spawnattr_destroy(&attributes);
  if (failed != 0) {
    child.id = -1;
    if (failed == ENOENT)
      return {.status = 127, .out = {}, .err = fmt::format("{}: not found", arguments[0])};
    throw Error(where, fmt::format("to run {}", arguments[0]), std::strerror(failed));
  }
  out.close(1);
  err.close(1);

  ProgramOutput output;
  const double limit = now_seconds() + seconds;
  pollfd files[2] = {{out.ends[0], POLLIN, 0}, {err.ends[0], POLLIN, 0}};
  std::string* const texts[2] = {&output.out, &output.err};
  while (files[0].fd >= 0 || files[1].fd >= 0) {
    const double left = limit - now_seconds();
    const int ready = left <= 0 ? 0 : ::poll(files, 2, static_cast<int>(std::ceil(left * 1e3)));
    if (ready < 0 && errno == EINTR) continue;
    if (ready == 0)
      throw Error(where, fmt::format("{} to end within {} s", arguments[0], seconds), "none of it",
                  "to run it by hand");
    for (int i = 0; i < 2; ++i) {
      if (files[i].fd < 0 || files[i].revents == 0) continue;
      char part[4096];
      const ssize_t got = ::read(files[i].fd, part, sizeof part);
      if (got > 0) texts[i]->append(part, static_cast<std::size_t>(got));
      if (got == 0 || (got < 0 && errno != EINTR)) files[i].fd = -1;
    }
    if (output.out.size() + output.err.size() > kMostBytes)
      throw Error(where, fmt::format("some lines of {}", arguments[0]), "more than 64 KiB",
                  "to run it by hand");
  }
  output.status = child.wait();
  return output;
}

}  // namespace maru::measure
