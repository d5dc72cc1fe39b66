// NoPipeSignal: while it lives, writing to a connection whose other end is gone is an error and no
// SIGPIPE, which would end the process without a word. Of the thread that made it, and of threads that
// are started meanwhile, for good; other threads and the process keep what they have.
#pragma once

#include <signal.h>

#include <ctime>

namespace maru::ranks {

class NoPipeSignal {
 public:
  NoPipeSignal() noexcept {
    sigset_t pending;
    ::sigemptyset(&pending);
    ::sigpending(&pending);
    was_pending_ = ::sigismember(&pending, SIGPIPE) == 1;
    const sigset_t pipe = pipe_signal();
    ::pthread_sigmask(SIG_BLOCK, &pipe, &before_);
  }
  NoPipeSignal(const NoPipeSignal&) = delete;
  NoPipeSignal& operator=(const NoPipeSignal&) = delete;
  // What came meanwhile must not come now.
  ~NoPipeSignal() {
    const sigset_t pipe = pipe_signal();
    const timespec at_once{};
    if (!was_pending_) ::sigtimedwait(&pipe, nullptr, &at_once);
    ::pthread_sigmask(SIG_SETMASK, &before_, nullptr);
  }

 private:
  static sigset_t pipe_signal() noexcept {
    sigset_t set;
    ::sigemptyset(&set);
    ::sigaddset(&set, SIGPIPE);
    return set;
  }

  sigset_t before_{};
  bool was_pending_ = false;
};

}  // namespace maru::ranks
