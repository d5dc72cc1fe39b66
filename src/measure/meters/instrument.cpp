#include "measure/meters/instrument.h"

#include <dlfcn.h>
#include <fcntl.h>
#include <netdb.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <sys/socket.h>
#include <termios.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cmath>
#include <cstring>

#include "base/error.h"
#include "measure/meter.h"

namespace maru::measure {
namespace {

constexpr std::size_t kLongestLine = 4096;
constexpr std::string_view kCheckCable =
    "whether it is switched on, and no other program talks to it; then open it anew";

std::string without_end(std::string line) {
  while (!line.empty() && (line.back() == '\n' || line.back() == '\r' || line.back() == '\0'))
    line.pop_back();
  return line;
}

// A file descriptor. Where the kernel's USBTMC driver is behind it, that waits by itself: it tells
// nothing through poll().
class FileInstrument : public Instrument {
 public:
  FileInstrument(std::string where, int file, bool polls)
      : where_(std::move(where)), file_(file), polls_(polls) {}
  ~FileInstrument() override { ::close(file_); }
  FileInstrument(const FileInstrument&) = delete;
  FileInstrument& operator=(const FileInstrument&) = delete;

  void write(std::string_view line) override {
    rest_.clear();
    std::string text(line);
    text += '\n';
    std::string_view left = text;
    const double limit = now_seconds() + kInstrumentSeconds;
    while (!left.empty()) {
      wait(POLLOUT, limit);
      const ssize_t written = polls_ && is_socket()
                                  ? ::send(file_, left.data(), left.size(), MSG_NOSIGNAL)
                                  : ::write(file_, left.data(), left.size());
      if (written < 0 && (errno == EINTR || errno == EAGAIN)) continue;
      if (written < 0) throw system_error(where_, fmt::format("to send '{}'", line), kCheckCable);
      left.remove_prefix(static_cast<std::size_t>(written));
    }
  }

  std::string read() override {
    const double limit = now_seconds() + kInstrumentSeconds;
    for (;;) {
      if (const std::size_t end = rest_.find('\n'); end != std::string::npos) {
        std::string line = rest_.substr(0, end);
        rest_.erase(0, end + 1);
        return without_end(std::move(line));
      }
      if (rest_.size() > kLongestLine)
        throw Error(where_, "a line", fmt::format("{} bytes without end", rest_.size()), kCheckCable);
      wait(POLLIN, limit);
      char part[512];
      const ssize_t got = ::read(file_, part, sizeof part);
      if (got < 0 && (errno == EINTR || errno == EAGAIN)) continue;
      if (got < 0) throw system_error(where_, "an answer", kCheckCable);
      if (got == 0) throw Error(where_, "an answer", "the end of the connection", kCheckCable);
      rest_.append(part, static_cast<std::size_t>(got));
    }
  }

 private:
  bool is_socket() const {
    int type = 0;
    socklen_t size = sizeof type;
    return ::getsockopt(file_, SOL_SOCKET, SO_TYPE, &type, &size) == 0;
  }
  void wait(short event, double limit) const {
    if (!polls_) return;
    // Where this process stood still until then, the answer may be there.
    constexpr double kLeast = 0.1;
    for (;;) {
      const double left = std::max(limit - now_seconds(), kLeast);
      pollfd file{file_, event, 0};
      const int ready = ::poll(&file, 1, static_cast<int>(std::ceil(left * 1e3)));
      if (ready > 0) return;
      if (ready < 0 && errno == EINTR) continue;
      throw Error(where_, event == POLLIN ? "an answer" : "to be listened to",
                  fmt::format("none within {} s", kInstrumentSeconds), kCheckCable);
    }
  }

  std::string where_;
  int file_;
  bool polls_;
  std::string rest_;
};

// liblxi's functions, as lxi.h of version 1.13 and later declares them.
class LxiInstrument : public Instrument {
 public:
  LxiInstrument(std::string where, const std::string& host, const std::string& library)
      : where_(std::move(where)), library_(::dlopen(library.c_str(), RTLD_NOW | RTLD_LOCAL)) {
    if (library_ == nullptr)
      throw Error(where_, "liblxi, to speak VXI-11", ::dlerror(),
                  "sudo apt-get install liblxi1, or the USB cable: --meter wt310e:/dev/usbtmc0");
    find("lxi_init", init_);
    find("lxi_connect", connect_);
    find("lxi_send", send_);
    find("lxi_receive", receive_);
    find("lxi_disconnect", disconnect_);
    init_();
    device_ = connect_(host.c_str(), 0, nullptr, kMilliseconds, kVxi11);
    if (device_ < 0)
      throw Error(where_, fmt::format("an instrument that speaks VXI-11 at {}", host), "no connection",
                  fmt::format("ping {}, and the instrument's network settings", host));
  }
  // The library stays: it has threads and sockets of its own.
  ~LxiInstrument() override {
    if (device_ >= 0) disconnect_(device_);
  }
  LxiInstrument(const LxiInstrument&) = delete;
  LxiInstrument& operator=(const LxiInstrument&) = delete;

  void write(std::string_view line) override {
    const std::string text = std::string(line) + '\n';
    if (send_(device_, text.data(), static_cast<int>(text.size()), kMilliseconds) < 0)
      throw Error(where_, fmt::format("to send '{}'", line), "no success", kCheckCable);
  }
  std::string read() override {
    std::string text(kLongestLine, '\0');
    const int got = receive_(device_, text.data(), static_cast<int>(text.size()), kMilliseconds);
    if (got < 0)
      throw Error(where_, "an answer", fmt::format("none within {} s", kInstrumentSeconds),
                  kCheckCable);
    text.resize(std::min(static_cast<std::size_t>(got), text.size()));
    return without_end(std::move(text));
  }

 private:
  static constexpr int kMilliseconds = static_cast<int>(kInstrumentSeconds * 1000);
  static constexpr int kVxi11 = 0;

  template <class F>
  void find(const char* name, F*& function) const {
    function = reinterpret_cast<F*>(::dlsym(library_, name));
    if (function == nullptr)
      throw Error(where_, fmt::format("{} in liblxi", name), "none", "liblxi of version 1.13 or later");
  }

  std::string where_;
  void* library_;
  int (*init_)() = nullptr;
  int (*connect_)(const char* address, int port, const char* name, int timeout, int protocol) = nullptr;
  int (*send_)(int device, const char* message, int length, int timeout) = nullptr;
  int (*receive_)(int device, char* message, int length, int timeout) = nullptr;
  int (*disconnect_)(int device) = nullptr;
  int device_ = -1;
};

}  // namespace

std::unique_ptr<Instrument> open_device(const std::string& where, const std::filesystem::path& path) {
  const int file = ::open(path.c_str(), O_RDWR | O_CLOEXEC | O_NOCTTY);
  if (file < 0) {
    const bool forbidden = errno == EACCES || errno == EPERM;
    throw system_error(where, fmt::format("to open {}", path.string()),
                       forbidden
                           ? fmt::format("sudo chmod a+rw {}; for good: echo 'SUBSYSTEM==\"usbmisc\", "
                                         "KERNEL==\"usbtmc*\", MODE=\"0666\"' | sudo tee "
                                         "/etc/udev/rules.d/70-maru-usbtmc.rules",
                                         path.string())
                           : "ls /dev/usbtmc*, and sudo modprobe usbtmc where there is none");
  }
  const bool terminal = ::isatty(file) != 0;
  if (terminal) {  // a serial line; it must not echo, nor change line ends
    termios raw{};
    ::tcgetattr(file, &raw);
    ::cfmakeraw(&raw);
    ::tcsetattr(file, TCSANOW, &raw);
  }
  return std::make_unique<FileInstrument>(where, file, terminal);
}

std::unique_ptr<Instrument> open_tcp(const std::string& where, const std::string& host,
                                     const std::string& port) {
  addrinfo wanted{};
  wanted.ai_socktype = SOCK_STREAM;
  addrinfo* found = nullptr;
  const std::string address = fmt::format("{}:{}", host, port);
  if (const int failed = ::getaddrinfo(host.c_str(), port.c_str(), &wanted, &found); failed != 0)
    throw Error(where, fmt::format("the address of {}", address), ::gai_strerror(failed),
                "its number instead");
  const std::unique_ptr<addrinfo, void (*)(addrinfo*)> owner(found, ::freeaddrinfo);
  int failed = 0;
  for (const addrinfo* at = found; at != nullptr; at = at->ai_next) {
    const int file =
        ::socket(at->ai_family, at->ai_socktype | SOCK_CLOEXEC | SOCK_NONBLOCK, at->ai_protocol);
    if (file < 0) continue;
    failed = ::connect(file, at->ai_addr, at->ai_addrlen) == 0 ? 0 : errno;
    if (failed == EINPROGRESS) {
      pollfd writable{file, POLLOUT, 0};
      failed = ETIMEDOUT;
      socklen_t size = sizeof failed;
      if (::poll(&writable, 1, static_cast<int>(kInstrumentSeconds * 1e3)) > 0)
        ::getsockopt(file, SOL_SOCKET, SO_ERROR, &failed, &size);
    }
    if (failed == 0) {
      const int on = 1;  // a command and the question for errors are two small writes
      ::setsockopt(file, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
      return std::make_unique<FileInstrument>(where, file, true);
    }
    ::close(file);
  }
  throw Error(where, fmt::format("a connection to {}", address), std::strerror(failed),
              fmt::format("ping {}", host));
}

std::unique_ptr<Instrument> open_vxi11(const std::string& where, const std::string& host,
                                       const std::string& library) {
  return std::make_unique<LxiInstrument>(where, host, library);
}

}  // namespace maru::measure
