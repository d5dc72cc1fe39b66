#include "ranks/meeting.h"

#include <gtest/gtest.h>
#include <sys/socket.h>

#include <algorithm>
#include <functional>
#include <future>

#include "base/error.h"

namespace maru::ranks {
namespace {

using std::chrono::milliseconds;

constexpr milliseconds kLong{20000};

int free_port() { return port_of(listen_at("127.0.0.1", 0)); }

class MeetingTest : public ::testing::Test {
 protected:
  Ranks rank(int number, int ranks) const {
    Ranks one;
    one.rank = one.local_rank = number;
    one.ranks = one.local_ranks = ranks;
    one.port = port_;
    return one;
  }
  static std::future<std::unique_ptr<Meeting>> come(const Ranks& ranks, milliseconds timeout = kLong) {
    return std::async(std::launch::async, [=] { return std::make_unique<Meeting>(ranks, timeout); });
  }
  std::vector<std::unique_ptr<Meeting>> all(int ranks) const {
    std::vector<std::future<std::unique_ptr<Meeting>>> coming;
    for (int number = 0; number < ranks; ++number) coming.push_back(come(rank(number, ranks)));
    std::vector<std::unique_ptr<Meeting>> meetings;
    for (auto& one : coming) meetings.push_back(one.get());
    return meetings;
  }
  static std::string error_of(const std::function<void()>& function) {
    try {
      function();
    } catch (const Error& error) {
      return error.what();
    }
    return "none";
  }

  int port_ = free_port();
};

#define EXPECT_SAYS(text, part) EXPECT_NE(std::string(text).find(part), std::string::npos) << (text)

TEST_F(MeetingTest, TellsEachWhatTheOthersSet) {
  const auto meetings = all(3);
  auto waiting = std::async(std::launch::async, [&] { return meetings[2]->get("later", kLong); });
  meetings[1]->set("early", "one");
  EXPECT_EQ(meetings[2]->get("early", kLong), "one");
  EXPECT_EQ(meetings[0]->get("early", kLong), "one");
  const std::string zeros("a\0b", 3);
  meetings[0]->set("later", zeros);
  EXPECT_EQ(waiting.get(), zeros);
  EXPECT_SAYS(error_of([&] { meetings[0]->get("never", milliseconds(20)); }), "never");
}

TEST_F(MeetingTest, TellsTheOthersWhoHasEnded) {
  auto meetings = all(3);
  meetings[1].reset();
  EXPECT_EQ(meetings[0]->ended_soon(kLong), std::vector{1});
  EXPECT_EQ(meetings[2]->ended_soon(kLong), std::vector{1});
  EXPECT_SAYS(error_of([&] { meetings[2]->get("never", kLong); }), "the end of rank 1 before that");
  EXPECT_SAYS(error_of([&] { meetings[0]->leave(kLong); }), "the end of rank 1 before that");
}

TEST_F(MeetingTest, EndsInOrderWhenAllHaveLeft) {
  auto meetings = all(3);
  std::vector<std::future<void>> leaving;
  for (auto& meeting : meetings)
    leaving.push_back(std::async(std::launch::async, [&] {
      meeting->leave(kLong);
      meeting.reset();  // rank 0's before others have heard of it, or after
    }));
  for (auto& one : leaving) EXPECT_NO_THROW(one.get());
}

TEST_F(MeetingTest, LeavingAloneIsAnErrorInTime) {
  const auto meetings = all(2);
  EXPECT_SAYS(error_of([&] { meetings[1]->leave(milliseconds(50)); }), "all 2 ranks to end in time");
}

TEST_F(MeetingTest, NamesWhoSaysNothing) {
  const auto meetings = all(3);
  auto first =
      std::async(std::launch::async, [&] { return meetings[0]->silent("here", milliseconds(2000)); });
  EXPECT_EQ(meetings[2]->silent("here", milliseconds(2000)), std::vector{1});
  EXPECT_EQ(first.get(), std::vector{1});
}

TEST_F(MeetingTest, RefusesWhoIsOfAnotherTrainingAndWhoComesLate) {
  auto zero = come(rank(0, 2));
  Ranks other = rank(1, 2);
  other.job = "another";
  EXPECT_SAYS(error_of([&] { Meeting meeting(other, kLong); }), "one of the 2 ranks of this training");
  EXPECT_SAYS(error_of([&] { Meeting meeting(rank(2, 3), kLong); }), "got one of another");
  auto one = come(rank(1, 2));
  const auto meeting = zero.get();
  EXPECT_SAYS(error_of([&] { Meeting twice(rank(1, 2), milliseconds(200)); }), "rank 0 at 127.0.0.1");
  EXPECT_NE(one.get(), nullptr);
}

TEST_F(MeetingTest, RefusesWhoIsThereAlready) {
  auto zero = come(rank(0, 3));
  std::vector<std::future<std::unique_ptr<Meeting>>> ones;
  for (int i = 0; i < 2; ++i) ones.push_back(come(rank(1, 3)));
  const auto is_ready = [](const auto& one) {
    return one.wait_for(milliseconds(10)) == std::future_status::ready;
  };
  auto refused = ones.end();
  while (refused == ones.end()) refused = std::ranges::find_if(ones, is_ready);
  EXPECT_SAYS(error_of([&] { refused->get(); }), "each rank once, got rank 1 twice");
  ones.erase(refused);
  auto two = come(rank(2, 3));
  EXPECT_NE(zero.get(), nullptr);
  EXPECT_NE(ones[0].get(), nullptr);
  EXPECT_NE(two.get(), nullptr);
}

// Something else that tries the port, or half a message.
TEST_F(MeetingTest, IsNotDisturbedByNonsense) {
  auto zero = come(rank(0, 2));
  const auto deadline = Clock::now() + kLong;
  std::vector<Socket> others;
  for (const std::string_view text : {std::string_view("GET / HTTP/1.1\r\n\r\n"),
                                      std::string_view("\0\0\0\1\0\0", 6), std::string_view("")}) {
    others.push_back(connect_to("127.0.0.1", port_, deadline));
    ASSERT_EQ(::send(others.back().fd(), text.data(), text.size(), MSG_NOSIGNAL),
              static_cast<ssize_t>(text.size()));
  }
  others.pop_back();
  others.push_back(connect_to("127.0.0.1", port_, deadline));  // goes when all are there, says nothing
  auto coming = come(rank(1, 2));
  const auto first = zero.get(), second = coming.get();
  others.clear();
  EXPECT_EQ(first->ended_soon(milliseconds(200)), std::vector<int>{});
  second->set("still", "here");
  EXPECT_EQ(first->get("still", kLong), "here");
  auto leaving = std::async(std::launch::async, [&] { first->leave(kLong); });
  EXPECT_NO_THROW(second->leave(kLong));
  EXPECT_NO_THROW(leaving.get());
}

TEST_F(MeetingTest, AnotherProgramsPortIsAnErrorInTime) {
  const Socket other = listen_at("127.0.0.1", port_);
  EXPECT_SAYS(error_of([&] { Meeting meeting(rank(0, 2), milliseconds(50)); }),
              fmt::format("port {} of 127.0.0.1, an address of this machine, to be free", port_));
}

TEST(Wire, KnowsNamesOfMachinesOnly) {
  try {
    listen_at("a b", 1);
    FAIL() << "there is none";
  } catch (const Error& error) {
    EXPECT_SAYS(error.what(), "the name or number of a machine");
  }
}

}  // namespace
}  // namespace maru::ranks
