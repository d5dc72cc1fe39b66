// Meeting: where the ranks find each other, before they have anything better: keys and values that all
// of them see, kept by rank 0, and news of who has ended. Owns a connection to rank 0, a thread that
// listens to it, and on rank 0 the server. Any thread may call anything.
#pragma once

#include <maru/error.h>

#include <condition_variable>
#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <string_view>
#include <thread>
#include <vector>

#include "ranks/meeting_server.h"

namespace maru::ranks {

class Meeting {
 public:
  // Waits until all ranks are there, at most so long. Throws Error naming who did not come.
  Meeting(const Ranks& ranks, std::chrono::milliseconds timeout);
  Meeting(const Meeting&) = delete;
  Meeting& operator=(const Meeting&) = delete;
  // Without leave() before, the others are told that this rank has ended.
  ~Meeting() = default;

  void set(const std::string& key, const std::string& value);
  // Waits until somebody has set it. Throws Error naming who has ended, or the key.
  std::string get(const std::string& key, std::chrono::milliseconds timeout);
  // Ends in order: returns when all ranks that still are have called it. Throws Error naming who ended
  // otherwise, or how many did not by then.
  void leave(std::chrono::milliseconds timeout);

  // Ranks that ended without leave(), the first one first.
  std::vector<int> ended() const;
  // The same, but waits for news that may be on their way.
  std::vector<int> ended_soon(std::chrono::milliseconds timeout) const;
  // Says that this rank is here, and waits for the others to say the same: those that have not by then.
  std::vector<int> silent(std::string_view key, std::chrono::milliseconds timeout);
  // The address of this machine by which rank 0 is reached.
  std::string own_address() const { return maru::ranks::own_address(socket_); }

 private:
  void listen(const std::stop_token& stop);
  void hear(Message message);
  void say(const Message& message) const;
  // Until done() or so long; false then. Throws Error where a rank has ended, or the connection.
  template <class Done>
  bool wait(std::unique_lock<std::mutex>& lock, std::chrono::milliseconds timeout, Done done) const;

  const int rank_, ranks_;
  std::unique_ptr<MeetingServer> server_;
  Socket socket_, wake_;
  mutable std::mutex mutex_, saying_;
  mutable std::condition_variable news_;
  bool is_welcome_ = false, is_farewell_ = false;
  std::map<std::string, std::string> values_;
  std::vector<int> ended_;
  std::optional<Error> refused_;
  std::jthread listener_;  // the last member: it uses all others
};

// "[ranks] expected all 3 ranks ..., got rank 2, which has ended; ..."
Error ended_error(const std::vector<int>& ended, int ranks);

}  // namespace maru::ranks
