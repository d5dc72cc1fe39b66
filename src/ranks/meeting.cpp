#include "ranks/meeting.h"

#include <poll.h>

#include <charconv>

#include "base/error.h"

namespace maru::ranks {

using Kind = Message::Kind;

Error ended_error(const std::vector<int>& ended, int ranks) {
  std::string list;
  for (const int rank : ended) list += fmt::format("{}{}", list.empty() ? "" : ", then ", rank);
  return {"ranks", fmt::format("all {} ranks until the end", ranks),
          fmt::format("the end of rank {} before that", list), "what that rank has said, for why"};
}

Meeting::Meeting(const Ranks& ranks, std::chrono::milliseconds timeout)
    : rank_(ranks.rank), ranks_(ranks.ranks), wake_(make_event()) {
  const auto deadline = Clock::now() + timeout;
  if (ranks.rank == 0) server_ = std::make_unique<MeetingServer>(ranks, deadline);
  socket_ = connect_to(ranks.address, ranks.port, deadline);
  if (ranks.local_ranks < ranks.ranks && is_loopback(own_address()))
    throw Error("MASTER_ADDR", "an address by which other machines reach rank 0",
                fmt::format("{}, which is {} here", ranks.address, own_address()),
                "the machine's number instead of its name");
  say({Kind::hello, {}, hello_of(ranks, ranks.rank)});
  listener_ = std::jthread([this](const std::stop_token& stop) { listen(stop); });
  // The server's answer to the deadline is the better one.
  constexpr std::chrono::milliseconds kSlack{5000};
  std::unique_lock lock(mutex_);
  if (wait(lock, timeout + kSlack, [this] { return is_welcome_; })) return;
  throw Error("ranks", fmt::format("an answer of rank 0 at {}:{}", ranks.address, ranks.port), "none",
              "another MASTER_PORT, in case something else listens there");
}

void Meeting::say(const Message& message) const {
  const std::lock_guard lock(saying_);
  // Where it fails the connection is gone, and listen() learns it too.
  static_cast<void>(send(socket_, message));
}

void Meeting::listen(const std::stop_token& stop) {
  const std::stop_callback wake(stop, [this] { signal(wake_); });
  Inbox inbox;
  for (bool is_there = true; is_there && !stop.stop_requested();) {
    pollfd polled[] = {{wake_.fd(), POLLIN, 0}, {socket_.fd(), POLLIN, 0}};
    if (::poll(polled, 2, -1) <= 0 || polled[1].revents == 0) continue;
    is_there = inbox.read(socket_);
    const std::lock_guard lock(mutex_);
    while (auto message = inbox.next()) hear(std::move(*message));
    if (!is_there && !is_farewell_ && !refused_) {
      if (is_welcome_) {
        ended_.push_back(0);
      } else {
        refused_ =
            Error("ranks", "a welcome by rank 0", "the end of the connection",
                  "what rank 0 has said; another MASTER_PORT, in case something else listens there");
      }
    }
    news_.notify_all();
  }
}

void Meeting::hear(Message message) {
  switch (message.kind) {
    case Kind::welcome:
      is_welcome_ = true;
      return;
    case Kind::refuse:
      refused_ = Error("ranks", message.key, message.value,
                       "starting all ranks, each once, with the same MASTER_ADDR and MASTER_PORT");
      return;
    case Kind::value:
      values_[std::move(message.key)] = std::move(message.value);
      return;
    case Kind::ended: {
      int rank = 0;
      std::from_chars(message.key.data(), message.key.data() + message.key.size(), rank);
      ended_.push_back(rank);
      return;
    }
    case Kind::farewell:
      is_farewell_ = true;
      return;
    default:
      return;
  }
}

template <class Done>
bool Meeting::wait(std::unique_lock<std::mutex>& lock, std::chrono::milliseconds timeout,
                   Done done) const {
  const bool has_news =
      news_.wait_for(lock, timeout, [&] { return done() || !ended_.empty() || refused_; });
  if (has_news && done()) return true;
  if (refused_) throw Error(*refused_);
  if (!ended_.empty()) throw ended_error(ended_, ranks_);
  return false;
}

void Meeting::set(const std::string& key, const std::string& value) { say({Kind::set, key, value}); }

std::string Meeting::get(const std::string& key, std::chrono::milliseconds timeout) {
  say({Kind::get, key});
  std::unique_lock lock(mutex_);
  if (wait(lock, timeout, [&] { return values_.contains(key); })) return values_.at(key);
  throw Error("ranks", fmt::format("{} of another rank", key), "nothing in time",
              "looking at the other ranks");
}

void Meeting::leave(std::chrono::milliseconds timeout) {
  say({Kind::bye});
  std::unique_lock lock(mutex_);
  const bool has_ended = wait(lock, timeout, [this] { return is_farewell_; });
  if (!ended_.empty()) throw ended_error(ended_, ranks_);
  if (!has_ended)
    throw Error("ranks", fmt::format("all {} ranks to end in time", ranks_), "some that work on",
                "looking at the other ranks");
}

std::vector<int> Meeting::ended() const {
  const std::lock_guard lock(mutex_);
  return ended_;
}

std::vector<int> Meeting::ended_soon(std::chrono::milliseconds timeout) const {
  std::unique_lock lock(mutex_);
  news_.wait_for(lock, timeout, [this] { return !ended_.empty(); });
  return ended_;
}

std::vector<int> Meeting::silent(std::string_view key, std::chrono::milliseconds timeout) {
  const auto key_of = [&](int rank) { return fmt::format("{} {}", key, rank); };
  const auto everybody = [&] {
    for (int rank = 0; rank < ranks_; ++rank) {
      if (!values_.contains(key_of(rank))) return false;
    }
    return true;
  };
  set(key_of(rank_), "");
  for (int rank = 0; rank < ranks_; ++rank) say({Kind::get, key_of(rank)});
  std::unique_lock lock(mutex_);
  news_.wait_for(lock, timeout, everybody);
  std::vector<int> missing;
  for (int rank = 0; rank < ranks_; ++rank) {
    if (!values_.contains(key_of(rank))) missing.push_back(rank);
  }
  return missing;
}

}  // namespace maru::ranks
