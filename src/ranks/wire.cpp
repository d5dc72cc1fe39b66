#include "ranks/wire.h"

#include <arpa/inet.h>
#include <netdb.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstring>
#include <memory>
#include <thread>

#include "base/error.h"

namespace maru::ranks {
namespace {

constexpr std::size_t kHeader = 3 * sizeof(std::uint32_t), kMostBytes = std::size_t{1} << 20;

struct FreeAddresses {
  void operator()(addrinfo* list) const noexcept { ::freeaddrinfo(list); }
};
using Addresses = std::unique_ptr<addrinfo, FreeAddresses>;

Addresses resolve(const std::string& address, int port, int flags) {
  addrinfo hints{};
  hints.ai_family = AF_UNSPEC;
  hints.ai_socktype = SOCK_STREAM;
  hints.ai_flags = flags;
  addrinfo* list = nullptr;
  const int code = ::getaddrinfo(address.c_str(), std::to_string(port).c_str(), &hints, &list);
  if (code != 0)
    throw Error("ranks", "the name or number of a machine",
                fmt::format("\"{}\": {}", address, ::gai_strerror(code)), "another MASTER_ADDR");
  return Addresses(list);
}

Socket socket_for(const addrinfo& at) {
  return Socket(::socket(at.ai_family, at.ai_socktype | SOCK_CLOEXEC, at.ai_protocol));
}

// Connects by the deadline; 0, or errno.
int connect_once(const Socket& socket, const addrinfo& at, Clock::time_point deadline) {
  // Tries of a second at most: a machine that is down says nothing at all.
  const auto left = std::chrono::duration_cast<std::chrono::milliseconds>(deadline - Clock::now());
  const auto wait =
      std::min(std::max(left, std::chrono::milliseconds(1)), std::chrono::milliseconds(1000));
  const timeval limit{static_cast<time_t>(wait.count() / 1000),
                      static_cast<suseconds_t>(wait.count() % 1000 * 1000)};
  if (::setsockopt(socket.fd(), SOL_SOCKET, SO_SNDTIMEO, &limit, sizeof limit) != 0) return errno;
  if (::connect(socket.fd(), at.ai_addr, at.ai_addrlen) == 0) return 0;
  return errno == EINPROGRESS ? ETIMEDOUT : errno;
}

void prepare(const Socket& socket) {
  const int on = 1;
  const timeval limit{5, 0};
  static_cast<void>(::setsockopt(socket.fd(), IPPROTO_TCP, TCP_NODELAY, &on, sizeof on));
  static_cast<void>(::setsockopt(socket.fd(), SOL_SOCKET, SO_SNDTIMEO, &limit, sizeof limit));
}

std::uint32_t number_at(const std::string& bytes, std::size_t at) {
  std::uint32_t number = 0;
  std::memcpy(&number, bytes.data() + at, sizeof number);
  return ntohl(number);
}

}  // namespace

Socket::~Socket() {
  if (fd_ >= 0) ::close(fd_);
}

Socket listen_at(const std::string& address, int port) {
  const Addresses all = resolve(address, port, AI_PASSIVE);
  int last = 0;
  for (const addrinfo* at = all.get(); at != nullptr; at = at->ai_next) {
    Socket socket = socket_for(*at);
    const int on = 1;
    if (socket && ::setsockopt(socket.fd(), SOL_SOCKET, SO_REUSEADDR, &on, sizeof on) == 0 &&
        ::bind(socket.fd(), at->ai_addr, at->ai_addrlen) == 0 && ::listen(socket.fd(), SOMAXCONN) == 0)
      return socket;
    last = errno;
  }
  throw Error(
      "ranks", fmt::format("port {} of {}, an address of this machine, to be free", port, address),
      std::strerror(last), "another MASTER_PORT, the same for all ranks, or another MASTER_ADDR");
}

int port_of(const Socket& socket) {
  sockaddr_storage at{};
  socklen_t size = sizeof at;
  if (::getsockname(socket.fd(), reinterpret_cast<sockaddr*>(&at), &size) != 0)
    throw system_error("ranks", "the port of a socket");
  return ntohs(at.ss_family == AF_INET6 ? reinterpret_cast<const sockaddr_in6*>(&at)->sin6_port
                                        : reinterpret_cast<const sockaddr_in*>(&at)->sin_port);
}

Socket connect_to(const std::string& address, int port, Clock::time_point deadline) {
  constexpr std::chrono::milliseconds kBetween{50};
  const auto start = Clock::now();
  const Addresses all = resolve(address, port, 0);
  for (;;) {
    int last = 0;
    for (const addrinfo* at = all.get(); at != nullptr; at = at->ai_next) {
      Socket socket = socket_for(*at);
      last = socket ? connect_once(socket, *at, deadline) : errno;
      if (last != 0) continue;
      prepare(socket);
      return socket;
    }
    if (Clock::now() + kBetween >= deadline) {
      const std::chrono::duration<double> took = Clock::now() - start;
      throw Error("ranks", fmt::format("rank 0 at {}:{} within {:.0f} s", address, port, took.count()),
                  std::strerror(last), "starting all ranks, with the same MASTER_ADDR and MASTER_PORT");
    }
    std::this_thread::sleep_for(kBetween);
  }
}

std::string own_address(const Socket& socket) {
  sockaddr_storage at{};
  socklen_t size = sizeof at;
  std::array<char, NI_MAXHOST> text{};
  if (::getsockname(socket.fd(), reinterpret_cast<sockaddr*>(&at), &size) != 0 ||
      ::getnameinfo(reinterpret_cast<const sockaddr*>(&at), size, text.data(), text.size(), nullptr, 0,
                    NI_NUMERICHOST) != 0)
    throw system_error("ranks", "the address of a socket");
  return text.data();
}

bool is_loopback(std::string_view address) { return address.starts_with("127.") || address == "::1"; }

Socket make_event() {
  Socket event(::eventfd(0, EFD_CLOEXEC));
  if (!event) throw system_error("ranks", "an event to wake a thread");
  return event;
}

void signal(const Socket& event) noexcept {
  const std::uint64_t one = 1;
  static_cast<void>(!::write(event.fd(), &one, sizeof one));
}

std::string hello_of(const Ranks& ranks, int rank) {
  return fmt::format("maru ranks 1\nrank {} of {}\njob {}", rank, ranks.ranks, ranks.job);
}

bool send(const Socket& socket, const Message& message) noexcept {
  const std::uint32_t header[] = {htonl(static_cast<std::uint32_t>(message.kind)),
                                  htonl(static_cast<std::uint32_t>(message.key.size())),
                                  htonl(static_cast<std::uint32_t>(message.value.size()))};
  static_assert(sizeof header == kHeader);
  const std::string_view parts[] = {
      {reinterpret_cast<const char*>(header), kHeader}, message.key, message.value};
  for (std::string_view part : parts) {
    while (!part.empty()) {
      const ssize_t sent = ::send(socket.fd(), part.data(), part.size(), MSG_NOSIGNAL);
      if (sent < 0 && errno == EINTR) continue;
      if (sent <= 0) return false;
      part.remove_prefix(static_cast<std::size_t>(sent));
    }
  }
  return true;
}

bool Inbox::read(const Socket& socket) {
  std::array<char, 4096> some;
  for (;;) {
    const ssize_t got = ::recv(socket.fd(), some.data(), some.size(), MSG_DONTWAIT);
    if (got > 0) {
      bytes_.append(some.data(), static_cast<std::size_t>(got));
      if (bytes_.size() > 2 * kMostBytes) return false;
      continue;
    }
    if (got < 0 && errno == EINTR) continue;
    return got < 0 && (errno == EAGAIN || errno == EWOULDBLOCK) && !is_nonsense_;
  }
}

std::optional<Message> Inbox::next() {
  if (is_nonsense_ || bytes_.size() < kHeader) return std::nullopt;
  const std::uint32_t kind = number_at(bytes_, 0);
  const std::size_t key = number_at(bytes_, 4), value = number_at(bytes_, 8);
  if (kind < 1 || kind > static_cast<std::uint32_t>(Message::Kind::farewell) || key > kMostBytes ||
      value > kMostBytes) {
    is_nonsense_ = true;
    return std::nullopt;
  }
  if (bytes_.size() < kHeader + key + value) return std::nullopt;
  Message message{static_cast<Message::Kind>(kind), bytes_.substr(kHeader, key),
                  bytes_.substr(kHeader + key, value)};
  bytes_.erase(0, kHeader + key + value);
  return message;
}

}  // namespace maru::ranks
