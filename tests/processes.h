// Processes that a test starts, and that end with it at the latest.
#pragma once

#include <sys/types.h>

#include <chrono>
#include <map>
#include <optional>
#include <string>
#include <vector>

namespace maru::testing {

class Process {
 public:
  // `environment` beside the test's own; standard error goes to a file.
  Process(const std::vector<std::string>& command,
          const std::map<std::string, std::string>& environment, std::string errors);
  Process(Process&& other) noexcept;
  Process& operator=(Process&&) = delete;
  ~Process();

  // The exit code, 128 + the signal that ended it, or nothing where it has not ended by then.
  std::optional<int> wait(std::chrono::milliseconds timeout);
  std::string errors() const;

 private:
  pid_t pid_ = 0;
  std::optional<int> code_;
  std::string errors_;
};

// A port of the loopback that was free a moment ago.
int free_port();

}  // namespace maru::testing
