#include "device/fastest.h"

#include <gtest/gtest.h>

#include <chrono>
#include <limits>
#include <vector>

#include "base/error.h"

namespace maru {
namespace {

class Fastest : public ::testing::Test {
 protected:
  std::size_t run(const std::string& what, const std::vector<double>& seconds) {
    return fastest_of({"test-tuning", what + once_, names_}, mutex_, [&] {
      ++prepared_;
      return TakeTime([&](std::size_t index, double) {
        if (seconds[index] < 0) throw Error("a way", "one that works", "one that fails");
        return seconds[index];
      });
    });
  }

  const std::vector<std::string> names_{"a", "b", "c"};
  // What earlier runs of this test kept is of other keys.
  const std::string once_ = std::to_string(std::chrono::system_clock::now().time_since_epoch().count());
  std::mutex mutex_;
  int prepared_ = 0;
};

TEST_F(Fastest, IsKept) {
  EXPECT_EQ(run("kept", {3, 1, 2}), 1u);
  EXPECT_EQ(run("kept", {1, 2, 3}), 1u) << "as it was found";
  EXPECT_EQ(prepared_, 1);
  EXPECT_EQ(run("other", {1, 2, 3}), 0u) << "of something else";
}

TEST_F(Fastest, IsNoneThatFails) {
  EXPECT_EQ(run("fails", {-1, 2, 1}), 2u);
  EXPECT_EQ(run("all fail", {-1, -1, -1}), 0u);
  EXPECT_EQ(run("all fail", {-1, -1, 1}), 2u) << "and nothing was kept";
}

TEST_F(Fastest, IsTheFirstWhereNothingCanBeTried) {
  EXPECT_EQ(fastest_of({"test-tuning", "no room", names_}, mutex_,
                       []() -> TakeTime { throw Error("memory", "enough", "none"); }),
            0u);
}

}  // namespace
}  // namespace maru
