// The WT310E by a simulator that knows its commands and nothing else: on a terminal in place of its USB
// cable, on a socket, and behind liblxi. It can also misbehave.
#include <arpa/inet.h>
#include <dlfcn.h>
#include <fcntl.h>
#include <gtest/gtest.h>
#include <poll.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <termios.h>
#include <unistd.h>

#include <atomic>
#include <chrono>
#include <cmath>
#include <cstdio>
#include <map>
#include <mutex>
#include <thread>

#include "measure/meters/meters.h"
#include "measure/meters/test_tree.h"
#include "measure/recorder.h"
#include "tests/paths.h"

namespace maru::measure {
namespace {

constexpr double kWatts = 4.321;

class Simulator {
 public:
  enum class Fault {
    none,
    silent,
    closes,
    garbage,
    infinite,
    no_data,
    rejects,
    peak,
    stands,
    other_maker,
    chatty
  };

  virtual ~Simulator() { end(); }
  Simulator() = default;
  Simulator(const Simulator&) = delete;
  Simulator& operator=(const Simulator&) = delete;

  std::atomic<Fault> fault = Fault::none;
  std::string rejected = ":RATE 100MS";  // by Fault::rejects

  std::vector<std::string> heard() {
    const std::lock_guard lock(mutex_);
    return heard_;
  }
  bool auto_range(const std::string& of) {
    const std::lock_guard lock(mutex_);
    return settings_[":INPut:" + of + ":AUTO"] != "OFF";
  }

 protected:
  // A line at a time, until the other side closes or end() is called.
  void serve(int file) {
    std::string text;
    while (!ending_) {
      pollfd wait{file, POLLIN, 0};
      if (::poll(&wait, 1, 20) <= 0) continue;
      char part[256];
      const ssize_t got = ::read(file, part, sizeof part);
      if (got <= 0) {  // nobody there (yet, on a terminal)
        if (is_terminal_) {
          std::this_thread::sleep_for(std::chrono::milliseconds(2));
          continue;
        }
        return;
      }
      text.append(part, static_cast<std::size_t>(got));
      for (std::size_t at; (at = text.find('\n')) != std::string::npos; text.erase(0, at + 1)) {
        if (fault == Fault::closes) return;
        std::string answer = answer_to(text.substr(0, at));
        if (answer.empty() || fault == Fault::silent) continue;
        answer += '\n';
        EXPECT_EQ(::write(file, answer.data(), answer.size()), static_cast<ssize_t>(answer.size()));
      }
    }
  }
  void end() {
    ending_ = true;
    if (thread_.joinable()) thread_.join();
  }

  std::thread thread_;
  std::atomic<bool> ending_ = false;
  bool is_terminal_ = false;

 private:
  std::string answer_to(const std::string& line) {
    const std::lock_guard lock(mutex_);
    heard_.push_back(line);
    if (line.find('?') != std::string::npos) {
      if (fault == Fault::garbage) return "\x01\x7f #4000";
      return answer_to_query(line);
    }
    if (fault == Fault::rejects && line == rejected) {
      errors_.emplace_back("113,\"Undefined header\"");
    } else if (line == "*CLS") {
      errors_.clear();
    } else if (line == ":INTEGrate:STARt") {
      if (state_ != "RESET") errors_.emplace_back("813,\"Invalid operation during integration\"");
      state_ = "START";
      begin_ = now_seconds();
    } else if (line == ":INTEGrate:STOP") {
      if (state_ != "START") errors_.emplace_back("813,\"Invalid operation\"");
      state_ = "STOP";
      ran_ = now_seconds() - begin_;
    } else if (line == ":INTEGrate:RESet") {
      if (state_ == "START") errors_.emplace_back("813,\"Invalid operation during integration\"");
      state_ = "RESET";
      ran_ = 0;
    } else {
      const std::string name = line.substr(0, line.find(' '));
      if (settings_.count(name) == 0)
        errors_.push_back("113,\"Undefined header; " + line + "\"");
      else if (state_ == "START" && !name.starts_with(":COMMunicate"))
        errors_.emplace_back("813,\"Invalid operation during integration\"");
      else
        settings_[name] = line.substr(name.size() + 1);
    }
    return "";
  }

  std::string answer_to_query(const std::string& line) {
    if (line == "*IDN?")
      return fault == Fault::other_maker ? "OTHER,WT3000,1,2" : "YOKOGAWA,WT310E,C2PA12345V,F1.03";
    if (line == ":INTEGrate:STATe?") return state_;
    if (line == ":INPut:VOLTage:RANGe?") return "300.0E+00";
    if (line == ":INPut:CURRent:RANGe?") return "1.00E+00";
    if (line == ":STATus:CONDition?")
      return fault == Fault::peak ? "256" : state_ == "START" ? "2" : "0";
    if (line == ":STATus:ERRor?") {
      if (errors_.empty()) return "0,\"NO ERROR\"";
      const std::string error = errors_.front();
      errors_.erase(errors_.begin());
      return error;
    }
    if (line != ":NUMeric:NORMal:VALue?") {
      errors_.push_back("113,\"Undefined header; " + line + "\"");
      return "";
    }
    if (fault == Fault::chatty) return "4.321E+00,1,2,3";
    const double seconds = fault == Fault::stands ? 0
                           : state_ == "START"    ? now_seconds() - begin_
                                                  : ran_;
    std::string all;
    for (int i = 1; i <= 3; ++i) {
      const std::string item = settings_[":NUMeric:NORMal:ITEM" + std::to_string(i)];
      char number[32] = "NAN";
      if (item == "P,1") std::snprintf(number, sizeof number, "%.3fE+00", kWatts);
      if (item == "P,1" && fault == Fault::infinite) std::snprintf(number, sizeof number, "INF");
      if (item == "WH,1" && fault != Fault::no_data)
        std::snprintf(number, sizeof number, "%.5fE-03", kWatts * seconds / 3.6);
      if (item == "TIME,1") std::snprintf(number, sizeof number, "%.0f", std::floor(seconds));
      all += (i > 1 ? "," : "") + std::string(number);
    }
    return all;
  }

  std::mutex mutex_;
  std::vector<std::string> heard_, errors_{"832,\"an error from before\""};
  std::string state_ = "START";  // somebody left it running
  double begin_ = now_seconds(), ran_ = 0;
  std::map<std::string, std::string> settings_{
      {":COMMunicate:HEADer", "ON"},     {":INPut:VOLTage:AUTO", "ON"},
      {":INPut:CURRent:AUTO", "ON"},     {":RATE", "250MS"},
      {":INTEGrate:MODE", "CONTinuous"}, {":INTEGrate:TIMer", "1,0,0"},
      {":NUMeric:FORMat", "ASCii"},      {":NUMeric:NORMal:NUMber", "10"},
      {":NUMeric:NORMal:ITEM1", "U,1"},  {":NUMeric:NORMal:ITEM2", "I,1"},
      {":NUMeric:NORMal:ITEM3", "P,1"}};
};

// A terminal stands for /dev/usbtmc0: bytes go both ways, as a character device.
class Terminal : public Simulator {
 public:
  Terminal() {
    master_ = ::posix_openpt(O_RDWR | O_NOCTTY | O_CLOEXEC);
    ::grantpt(master_);
    ::unlockpt(master_);
    char name[64] = "";
    ::ptsname_r(master_, name, sizeof name);
    path = name;
    is_terminal_ = true;
    // Raw from the beginning, and held open, as a device is.
    slave_ = ::open(name, O_RDWR | O_NOCTTY | O_CLOEXEC);
    termios raw{};
    ::tcgetattr(slave_, &raw);
    ::cfmakeraw(&raw);
    ::tcsetattr(slave_, TCSANOW, &raw);
    thread_ = std::thread([this] { serve(master_); });
  }
  ~Terminal() override {
    end();
    ::close(slave_);
    ::close(master_);
  }
  std::string path;

 private:
  int master_ = -1, slave_ = -1;
};

class Server : public Simulator {
 public:
  Server() {
    listener_ = ::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    sockaddr_in address{};
    address.sin_family = AF_INET;
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    ::bind(listener_, reinterpret_cast<sockaddr*>(&address), sizeof address);
    ::listen(listener_, 4);
    socklen_t size = sizeof address;
    ::getsockname(listener_, reinterpret_cast<sockaddr*>(&address), &size);
    port = std::to_string(ntohs(address.sin_port));
    thread_ = std::thread([this] {
      while (!ending_) {
        pollfd wait{listener_, POLLIN, 0};
        if (::poll(&wait, 1, 20) <= 0) continue;
        const int file = ::accept4(listener_, nullptr, nullptr, SOCK_CLOEXEC);
        serve(file);
        ::close(file);
      }
    });
  }
  ~Server() override {
    end();
    ::close(listener_);
  }
  std::string port;

 private:
  int listener_ = -1;
};

std::unique_ptr<Meter> open(const std::string& address, const MeterOptions& options = {}) {
  std::vector<MeterAbsence> absences;
  return open_meter("wt310e:" + address, options, absences);
}

void wait(double seconds) { std::this_thread::sleep_for(std::chrono::duration<double>(seconds)); }

void expect_measures(Simulator& simulator, Meter& meter) {
  const MeterFacts& facts = meter.facts();
  EXPECT_EQ(facts.source, "YOKOGAWA WT310E, number C2PA12345V, ranges 300 V, 1 A");
  EXPECT_EQ(to_string(facts.boundary), "wall");
  EXPECT_EQ(to_string(facts.grade), "measured");
  EXPECT_EQ(facts.period_seconds, 0.1);
  EXPECT_DOUBLE_EQ(facts.resolution_watts, 1e-3);
  EXPECT_FALSE(simulator.auto_range("VOLTage") || simulator.auto_range("CURRent"));
  EXPECT_TRUE(meter.integrates());
  EXPECT_EQ(meter.read().watts, kWatts);
  for (int round = 0; round < 2; ++round) {  // each integrates anew
    const double before = now_seconds();
    meter.start();
    const double started = now_seconds();
    wait(0.2);
    EXPECT_EQ(meter.read().watts, kWatts);
    const double stopping = now_seconds();
    const double joules = meter.stop();
    EXPECT_GE(joules, kWatts * (stopping - started) - 1e-3);
    EXPECT_LE(joules, kWatts * (now_seconds() - before) + 1e-3);
  }
  // It was asked for errors after every command.
  const auto heard = simulator.heard();
  for (std::size_t i = 2; i + 1 < heard.size(); ++i) {
    const bool asks = heard[i] == ":STATus:ERRor?";
    EXPECT_TRUE(asks || heard[i + 1] == ":STATus:ERRor?") << heard[i] << " then " << heard[i + 1];
  }
}

TEST(Wt310e, OverItsCable) {
  Terminal simulator;
  const auto meter = open(simulator.path);
  expect_measures(simulator, *meter);
}

TEST(Wt310e, OverASocket) {
  Server simulator;
  const auto meter = open("tcp://127.0.0.1:" + simulator.port);
  expect_measures(simulator, *meter);
}

TEST(Wt310e, ThroughLiblxi) {
  Server simulator;
  const Variable port("FAKE_LXI_PORT", simulator.port);
  const MeterOptions options{.lxi = maru::testing::fake_lxi()};
  const auto meter = open("127.0.0.1", options);
  expect_measures(simulator, *meter);
  EXPECT_NE(error_of([&] { open("host-that-is-no-number", options); }).find("speaks VXI-11"),
            std::string::npos);
}

// The real liblxi, and VXI-11 in front of the simulator.
TEST(Wt310e, OverVxi11) {
  if (::dlopen("liblxi.so.1", RTLD_NOW) == nullptr) GTEST_SKIP() << "liblxi1 is not installed";
  // Debian's liblxi finds glibc's old RPC functions, which the sanitizers step between and do not find.
  for (const char* sanitizer : {"__asan_init", "__tsan_init"})
    if (::dlsym(RTLD_DEFAULT, sanitizer) != nullptr) GTEST_SKIP() << "a sanitizer's xdr_int() is none";
  Server simulator;
  const std::string bridge = std::string("python3 ") + maru::testing::source_dir() +
                             "/tests/meters/vxi11_bridge.py " + simulator.port + " 2>&1";
  const std::unique_ptr<FILE, int (*)(FILE*)> output(::popen(bridge.c_str(), "re"), ::pclose);
  char line[200] = "";
  ASSERT_NE(std::fgets(line, sizeof line, output.get()), nullptr);
  if (std::string_view(line) != "ready\n")
    GTEST_SKIP() << "no port mapper can be played here: " << line;
  const auto meter = open("127.0.0.1");
  expect_measures(simulator, *meter);
}

TEST(Wt310e, WithoutLiblxiItsPackageIsNamed) {
  const std::string text = error_of([] { open("192.0.2.1", {.lxi = "libnot-there.so"}); });
  EXPECT_NE(text.find("sudo apt-get install liblxi1"), std::string::npos) << text;
  const std::string other = error_of([] { open("192.0.2.1", {.lxi = maru::testing::fake_nvml()}); });
  EXPECT_NE(other.find("expected lxi_init in liblxi"), std::string::npos) << other;
}

TEST(Wt310e, RecordedWindowsAreItsOwnIntegrals) {
  Terminal simulator;
  const auto meter = open(simulator.path);
  Recorder recorder(*meter);
  for (int i = 0; i < 2; ++i) {
    recorder.open();
    wait(0.4);
    recorder.close();
  }
  recorder.finish();
  ASSERT_EQ(recorder.windows().size(), 2);
  for (const WindowEnergy& window : recorder.windows()) {
    EXPECT_NEAR(window.joules, kWatts * (window.end - window.begin), window.uncertainty_joules);
    EXPECT_LE(window.uncertainty_joules, 2 * kWatts * 0.1 + 2 * 0.036 + 1e-9);
    ASSERT_TRUE(window.power_joules);
    EXPECT_NEAR(*window.power_joules, kWatts * (window.end - window.begin), 1e-6);
  }
}

TEST(Wt310e, MisbehavingIsAnErrorThatSaysWhatToDo) {
  using Fault = Simulator::Fault;
  struct Case {
    Fault fault;
    std::string read, stop;  // what is said of it; empty: nothing is wrong
  };
  const Case cases[] = {
      {Fault::garbage, "", ""},  // any error
      {Fault::infinite, "an overrange (INF); try a higher range", ""},
      {Fault::peak, "an overrange (condition 256); try a higher range of current", "condition 256"},
      {Fault::no_data, "no error", "watt hours, got no data (NAN)"},
      {Fault::chatty, "got '4.321E+00,1,2,3'", "got '4.321E+00,1,2,3'"},
      {Fault::closes, "the end of the connection", "meter wt310e"},
  };
  for (const Case& wrong : cases) {
    Server simulator;
    const auto meter = open("tcp://127.0.0.1:" + simulator.port);
    meter->start();
    simulator.fault = wrong.fault;
    const std::string read = error_of([&] { meter->read(); });
    EXPECT_NE(read.find(wrong.read.empty() ? "meter wt310e" : wrong.read), std::string::npos) << read;
    if (wrong.fault == Fault::infinite) continue;  // integration goes on
    const std::string stop = error_of([&] { meter->stop(); });
    EXPECT_NE(stop.find(wrong.stop.empty() ? "meter wt310e" : wrong.stop), std::string::npos) << stop;
  }
}

TEST(Wt310e, SilenceEndsAfterAWhile) {
  Terminal simulator;
  const auto meter = open(simulator.path);
  simulator.fault = Simulator::Fault::silent;
  const double before = now_seconds();
  EXPECT_NE(error_of([&] { meter->read(); }).find("expected an answer, got none within 3 s"),
            std::string::npos);
  EXPECT_GE(now_seconds() - before, 3);
}

TEST(Wt310e, AnIntegralThatStandsIsNotBelieved) {
  Server simulator;
  const auto meter = open("tcp://127.0.0.1:" + simulator.port);
  meter->start();
  wait(1.7);
  simulator.fault = Simulator::Fault::stands;
  EXPECT_NE(error_of([&] { meter->stop(); }).find("got 0 s"), std::string::npos);
}

TEST(Wt310e, CommandsThatItDoesNotTakeAreNamed) {
  for (const std::string command :
       {":RATE 100MS", ":INPut:CURRent:AUTO OFF", ":NUMeric:NORMal:ITEM2 WH,1"}) {
    Server simulator;
    simulator.rejected = command;
    simulator.fault = Simulator::Fault::rejects;
    const std::string text = error_of([&] { open("tcp://127.0.0.1:" + simulator.port); });
    EXPECT_NE(text.find("expected '" + command + "' to be taken, got error 113,\"Undefined header\""),
              std::string::npos)
        << text;
  }
}

TEST(Wt310e, OtherAddressesAndInstruments) {
  Server simulator;
  simulator.fault = Simulator::Fault::other_maker;
  EXPECT_NE(error_of([&] { open("tcp://127.0.0.1:" + simulator.port); }).find("got 'OTHER,WT3000,1,2'"),
            std::string::npos);
  EXPECT_NE(error_of([&] { open("/dev/usbtmc-not-there"); }).find("modprobe usbtmc"),
            std::string::npos);
  std::string port = "1";
  EXPECT_NE(error_of([&] { open("tcp://127.0.0.1:" + port); }).find("Connection refused"),
            std::string::npos);
  TestTree tree;
  tree.write("dev/usbtmc0", "");  // below another root; a file is no instrument
  EXPECT_NE(error_of([&] { open("/dev/usbtmc0", {.root = tree.root()}); }).find("meter wt310e"),
            std::string::npos);
}

}  // namespace
}  // namespace maru::measure
