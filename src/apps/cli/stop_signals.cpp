#include "apps/cli/stop_signals.h"

#include <signal.h>

#include <array>

namespace maru::cli {
namespace {

constexpr std::array<int, 3> kSignals{SIGINT, SIGTERM, SIGHUP};

volatile sig_atomic_t wants_stop = 0, wants_snapshot = 0;
std::array<struct sigaction, kSignals.size()> before;

extern "C" void on_signal(int number) {
  if (number == SIGHUP) {
    wants_snapshot = 1;
    return;
  }
  wants_stop = 1;
  // The next one of either kind ends the program.
  struct sigaction plain {};
  plain.sa_handler = SIG_DFL;
  ::sigaction(SIGINT, &plain, nullptr);
  ::sigaction(SIGTERM, &plain, nullptr);
}

}  // namespace

StopSignals::StopSignals() {
  wants_stop = 0;
  wants_snapshot = 0;
  for (std::size_t i = 0; i < kSignals.size(); ++i) {
    ::sigaction(kSignals[i], nullptr, &before[i]);
    if (before[i].sa_handler == SIG_IGN) continue;
    struct sigaction action {};
    action.sa_handler = on_signal;
    action.sa_flags = SA_RESTART;
    ::sigaction(kSignals[i], &action, nullptr);
  }
}

StopSignals::~StopSignals() {
  for (std::size_t i = 0; i < kSignals.size(); ++i) ::sigaction(kSignals[i], &before[i], nullptr);
}

Asked StopSignals::asked() {
  if (wants_stop != 0) return Asked::stop;
  if (wants_snapshot == 0) return Asked::nothing;
  wants_snapshot = 0;
  return Asked::snapshot;
}

}  // namespace maru::cli
