#include "apps/cli/short_spin.h"

#include <unistd.h>

#include <array>
#include <cstdlib>
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
  ::execv("/proc/self/exe", argv);
}

}  // namespace maru::cli
