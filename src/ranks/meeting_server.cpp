#include "ranks/meeting_server.h"

#include <poll.h>
#include <sys/socket.h>

#include <algorithm>
#include <cstdint>
#include <vector>

#include "base/error.h"

namespace maru::ranks {

using Kind = Message::Kind;

MeetingServer::MeetingServer(const Ranks& ranks, Clock::time_point deadline)
    : ranks_(ranks),
      deadline_(deadline),
      listener_(listen_at(ranks.address, ranks.port)),
      wake_(make_event()),
      thread_([this](const std::stop_token& stop) { serve(stop); }) {}

void MeetingServer::serve(const std::stop_token& stop) {
  const std::stop_callback wake(stop, [this] { signal(wake_); });
  while (!stop.stop_requested()) {
    wait_for_news();
    if (listener_ && Clock::now() >= deadline_) give_up_waiting();
    std::erase_if(guests_, [](const Guest& guest) { return guest.is_gone && guest.rank < 0; });
  }
}

void MeetingServer::wait_for_news() {
  std::vector<pollfd> polled{{wake_.fd(), POLLIN, 0}, {listener_.fd(), POLLIN, 0}};
  // A descriptor below 0 is passed over: of what is closed.
  for (const Guest& guest : guests_) polled.push_back({guest.socket.fd(), POLLIN, 0});
  int wait = -1;
  if (listener_) {
    const auto left = std::chrono::duration_cast<std::chrono::milliseconds>(deadline_ - Clock::now());
    wait = static_cast<int>(std::clamp<std::int64_t>(left.count() + 1, 0, 1000));
  }
  if (::poll(polled.data(), polled.size(), wait) <= 0) return;
  auto news = polled.begin() + 2;
  for (Guest& guest : guests_) {
    if (news++->revents != 0 && !guest.is_gone) hear(guest);
  }
  if (listener_ && polled[1].revents != 0) accept_one();
}

void MeetingServer::accept_one() {
  Socket socket(::accept4(listener_.fd(), nullptr, nullptr, SOCK_CLOEXEC));
  if (socket) guests_.emplace_back().socket = std::move(socket);
}

void MeetingServer::hear(Guest& guest) {
  const bool is_there = guest.inbox.read(guest.socket);
  while (auto message = guest.inbox.next()) answer(guest, std::move(*message));
  if (!is_there) lose(guest);
}

void MeetingServer::answer(Guest& guest, Message message) {
  if (guest.rank < 0) return message.kind == Kind::hello ? welcome(guest, message) : lose(guest);
  switch (message.kind) {
    case Kind::set: {
      const auto [begin, end] = asked_.equal_range(message.key);
      for (auto waiting = begin; waiting != end; ++waiting) {
        if (const Guest* to = find(waiting->second))
          static_cast<void>(send(to->socket, {Kind::value, message.key, message.value}));
      }
      asked_.erase(begin, end);
      values_[message.key] = std::move(message.value);
      return;
    }
    case Kind::get: {
      const auto found = values_.find(message.key);
      if (found != values_.end()) {
        static_cast<void>(send(guest.socket, {Kind::value, message.key, found->second}));
      } else {
        asked_.emplace(std::move(message.key), guest.rank);
      }
      return;
    }
    case Kind::bye:
      guest.has_left = true;
      return end_if_all_left();
    default:
      return lose(guest);
  }
}

void MeetingServer::welcome(Guest& guest, const Message& hello) {
  const auto refuse = [&](std::string_view expected, std::string_view got) {
    static_cast<void>(send(guest.socket, {Kind::refuse, std::string(expected), std::string(got)}));
    lose(guest);
  };
  int rank = 0;
  while (rank < ranks_.ranks && hello.value != hello_of(ranks_, rank)) ++rank;
  if (rank == ranks_.ranks)
    return refuse(fmt::format("one of the {} ranks of this training", ranks_.ranks), "one of another");
  if (find(rank) != nullptr) return refuse("each rank once", fmt::format("rank {} twice", rank));
  guest.rank = rank;
  for (int other = 0; other < ranks_.ranks; ++other) {
    if (find(other) == nullptr) return;
  }
  is_complete_ = true;
  listener_ = Socket();
  tell_all({Kind::welcome});
}

void MeetingServer::give_up_waiting() {
  std::string missing;
  for (int rank = 0; rank < ranks_.ranks; ++rank) {
    if (find(rank) == nullptr) missing += fmt::format("{}{}", missing.empty() ? "" : ", ", rank);
  }
  const std::chrono::duration<double> waited = Clock::now() - start_;
  tell_all({Kind::refuse,
            fmt::format("{} ranks at {}:{} within {:.0f} s", ranks_.ranks, ranks_.address, ranks_.port,
                        waited.count()),
            fmt::format("none of rank {}", missing)});
  listener_ = Socket();
}

void MeetingServer::lose(Guest& guest) {
  if (guest.is_gone) return;
  guest.is_gone = true;
  guest.socket = Socket();
  if (!is_complete_) {
    guest.rank = -1;                                // may come again
  } else if (guest.rank >= 0 && !guest.has_left) {  // others, who never were of these, may go
    tell_all({Kind::ended, fmt::format("{}", guest.rank)});
    end_if_all_left();
  }
}

void MeetingServer::tell_all(const Message& message) {
  for (const Guest& guest : guests_) {
    if (!guest.is_gone && guest.rank >= 0) static_cast<void>(send(guest.socket, message));
  }
}

void MeetingServer::end_if_all_left() {
  const auto is_done = [](const Guest& guest) {
    return guest.has_left || guest.is_gone || guest.rank < 0;
  };
  if (std::ranges::all_of(guests_, is_done)) tell_all({Kind::farewell});
}

MeetingServer::Guest* MeetingServer::find(int rank) {
  const auto found = std::ranges::find(guests_, rank, &Guest::rank);
  return found == guests_.end() ? nullptr : &*found;
}

}  // namespace maru::ranks
