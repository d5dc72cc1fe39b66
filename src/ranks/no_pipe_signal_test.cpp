#include "ranks/no_pipe_signal.h"

#include <gtest/gtest.h>
#include <unistd.h>

#include <cerrno>
#include <thread>

namespace maru::ranks {
namespace {

// Of a pipe that nobody reads: errno of writing.
int write_to_nobody() {
  int ends[2];
  EXPECT_EQ(::pipe(ends), 0);
  ::close(ends[0]);
  const int code = ::write(ends[1], "x", 1) < 0 ? errno : 0;
  ::close(ends[1]);
  return code;
}

bool is_blocked() {
  sigset_t now;
  ::pthread_sigmask(SIG_SETMASK, nullptr, &now);
  return ::sigismember(&now, SIGPIPE) == 1;
}

TEST(NoPipeSignal, WritingToNobodyIsAnError) {
  ASSERT_FALSE(is_blocked());
  {
    const NoPipeSignal no_signal;
    EXPECT_EQ(write_to_nobody(), EPIPE);
  }
  EXPECT_FALSE(is_blocked());  // and what was pending has not ended this process
}

TEST(NoPipeSignal, HoldsForThreadsThatAreStartedMeanwhile) {
  std::thread thread;
  {
    const NoPipeSignal no_signal;
    thread = std::thread([] {
      std::this_thread::sleep_for(std::chrono::milliseconds(20));
      EXPECT_EQ(write_to_nobody(), EPIPE);
    });
  }
  thread.join();
}

TEST(NoPipeSignalDeathTest, OfOthersIsWhatItWas) {
  ::testing::FLAGS_gtest_death_test_style = "threadsafe";
  EXPECT_EXIT(write_to_nobody(), ::testing::KilledBySignal(SIGPIPE), "");
}

}  // namespace
}  // namespace maru::ranks
