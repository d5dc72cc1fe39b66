#include "apps/cli/short_spin.h"

#include <unistd.h>

#include <array>
#include <cstdlib>
#include <filesystem>
#include <system_error>
#include <thread>

namespace maru::cli {
namespace {

constexpr const char* kSpins = "10000";  // about 0.1 ms

}  // namespace

void spin_shortly(char** argv) {
  // The last is of LLVM's library, which has another way to say it; its default is its own.
  constexpr std::array kSaid{"GOMP_SPINCOUNT", "OMP_WAIT_POLICY", "KMP_BLOCKTIME"};
  for (const char* name : kSaid) {
    if (std::getenv(name) != nullptr) return;
  }
  if (std::thread::hardware_concurrency() < 2) return;
  ::setenv("GOMP_SPINCOUNT", kSpins, 1);  // so that it is said, and this is done once
  // By the link itself, the process would be called "exe" from then on.
  std::error_code error;
  const std::filesystem::path program = std::filesystem::read_symlink("/proc/self/exe", error);
  if (!error) ::execv(program.c_str(), argv);
}

}  // namespace maru::cli
