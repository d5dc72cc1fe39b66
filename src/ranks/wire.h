// What ranks say to rank 0 and it to them before they have anything better: small messages over TCP.
// A Socket owns its descriptor; an Inbox belongs to one thread.
#pragma once

#include <chrono>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <utility>

#include "ranks/environment.h"

namespace maru::ranks {

using Clock = std::chrono::steady_clock;

class Socket {
 public:
  Socket() = default;
  explicit Socket(int fd) noexcept : fd_(fd) {}
  Socket(Socket&& other) noexcept : fd_(std::exchange(other.fd_, -1)) {}
  Socket& operator=(Socket&& other) noexcept {
    std::swap(fd_, other.fd_);
    return *this;
  }
  ~Socket();

  int fd() const noexcept { return fd_; }
  explicit operator bool() const noexcept { return fd_ >= 0; }

 private:
  int fd_ = -1;
};

// Listens at this address of this machine alone. Throws Error naming both where it cannot.
Socket listen_at(const std::string& address, int port);
// The port that it got; of use where 0 was asked for.
int port_of(const Socket& socket);
// Tries until somebody listens there. Throws Error naming what the last try said.
Socket connect_to(const std::string& address, int port, Clock::time_point deadline);
// The address of this machine by which the connection leaves it.
std::string own_address(const Socket& socket);
bool is_loopback(std::string_view address);

// Wakes a poll() of it, once and for all.
Socket make_event();
void signal(const Socket& event) noexcept;

struct Message {
  enum class Kind : std::uint32_t {
    hello = 1,    // to rank 0: who comes; as hello_of()
    welcome = 2,  // to all: everybody is here
    refuse = 3,   // to a rank: what was expected, and what there is
    set = 4,      // to rank 0: key and value
    get = 5,      // to rank 0: key; answered by `value`, as soon as there is one
    value = 6,    // key and value
    ended = 7,    // to all: the rank (in key) has ended
    bye = 8,      // to rank 0: ends in order
    farewell = 9  // to all: everybody has said bye
  };
  Kind kind;
  std::string key{}, value{};
};
// What a rank says of itself; equal for equals alone.
std::string hello_of(const Ranks& ranks, int rank);

// False where the other end is gone, or takes nothing for some seconds.
bool send(const Socket& socket, const Message& message) noexcept;

// Bytes that came, until they are messages.
class Inbox {
 public:
  // Reads what is there without waiting; false when the other end is gone, or talks nonsense.
  bool read(const Socket& socket);
  std::optional<Message> next();

 private:
  std::string bytes_;
  bool is_nonsense_ = false;
};

}  // namespace maru::ranks
