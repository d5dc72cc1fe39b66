// MeetingServer: rank 0's side of a meeting (ranks/meeting.h): a thread that answers all ranks, its own
// one too, until it is destroyed.
#pragma once

#include <list>
#include <map>
#include <string>
#include <thread>

#include "ranks/environment.h"
#include "ranks/wire.h"

namespace maru::ranks {

class MeetingServer {
 public:
  // Throws Error when it cannot listen there. Who has not come at the deadline is named to those who
  // have.
  MeetingServer(const Ranks& ranks, Clock::time_point deadline);
  MeetingServer(const MeetingServer&) = delete;
  MeetingServer& operator=(const MeetingServer&) = delete;

 private:
  struct Guest {
    Socket socket;
    Inbox inbox;
    int rank = -1;          // until it has said hello
    bool has_left = false;  // in order
    bool is_gone = false;   // its connection has ended
  };

  void serve(const std::stop_token& stop);
  void wait_for_news();
  void accept_one();
  void hear(Guest& guest);
  void answer(Guest& guest, Message message);
  void welcome(Guest& guest, const Message& hello);
  void give_up_waiting();
  void lose(Guest& guest);
  void tell_all(const Message& message);
  void end_if_all_left();
  Guest* find(int rank);

  const Ranks ranks_;
  const Clock::time_point deadline_;
  const Clock::time_point start_ = Clock::now();
  Socket listener_, wake_;
  std::list<Guest> guests_;
  std::map<std::string, std::string> values_;
  std::multimap<std::string, int> asked_;  // keys without a value, and who waits for it
  bool is_complete_ = false;
  std::jthread thread_;  // the last member: it uses all others
};

}  // namespace maru::ranks
