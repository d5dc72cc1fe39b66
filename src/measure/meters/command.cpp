// A program of the user's that prints the joules used so far, each time that it is run.
#include <algorithm>
#include <chrono>
#include <cmath>
#include <limits>
#include <thread>

#include "base/error.h"
#include "measure/meters/meters.h"
#include "measure/meters/program.h"

namespace maru::measure {
namespace {

constexpr std::string_view kWhere = "meter command";
constexpr double kAssumedPeriod = 0.1;
constexpr double kWatchSeconds = 2;  // at most, for its value to change some times
constexpr int kWatchChanges = 4;

class CommandMeter : public Meter {
 public:
  explicit CommandMeter(std::string_view command) : command_(command) {
    std::string text;
    first_ = last_ = ask(text);
    facts_.name = "command";
    facts_.source = fmt::format("joules that '{}' prints", command_);
    facts_.boundary = MeterFacts::Boundary::unknown;
    facts_.grade = MeterFacts::Class::estimated;
    const Watched watched = watch();
    // Not more often, so that running it is not most of what is measured.
    facts_.period_seconds = std::max({kAssumedPeriod, 10 * quickest_, watched.longest_gap});
    if (watched.changes < kWatchChanges) facts_.source += "; its period is assumed";
    facts_.resolution_joules = step_of(text);
    facts_.blind = "what the program does not count";
  }

  const MeterFacts& facts() const override { return facts_; }

  Reading read() override {
    const double before = now_seconds();
    std::string text;
    const double joules = ask(text);
    if (joules < last_)
      throw Error(kWhere, "joules used so far, which never become less",
                  fmt::format("{} after {}", joules, last_), "a program that sums up");
    last_ = joules;
    return {.seconds = (before + now_seconds()) / 2, .joules = joules - first_};
  }

 private:
  struct Watched {
    int changes = 0;
    double longest_gap = 0;  // between two changes
  };

  // The program alone knows how often its value changes.
  Watched watch() {
    Watched found;
    const double begin = now_seconds();
    double changed = begin;
    while (found.changes < kWatchChanges && now_seconds() - begin < kWatchSeconds) {
      std::this_thread::sleep_for(std::chrono::duration<double>(std::max(quickest_, 5e-3)));
      const double before = last_, now = read().seconds;
      if (last_ == before) continue;
      if (++found.changes > 1) found.longest_gap = std::max(found.longest_gap, now - changed);
      changed = now;
    }
    first_ = last_;
    return found;
  }

  double ask(std::string& text) {
    const double before = now_seconds();
    const ProgramOutput output = run_program(std::string(kWhere), {"sh", "-c", command_}, 10);
    quickest_ = std::min(quickest_, now_seconds() - before);
    if (output.status != 0)
      throw Error(kWhere, fmt::format("'{}' to succeed", command_),
                  fmt::format("status {}: {}", output.status, output.err), "to run it by hand");
    text = output.out.substr(0, output.out.find_last_not_of(" \t\r\n") + 1);
    const auto joules = parse_number(text);
    if (!joules || !std::isfinite(*joules))
      throw Error(kWhere, fmt::format("a number of joules from '{}'", command_),
                  fmt::format("'{}'", text.substr(0, 200)), "to print nothing else to standard output");
    return *joules;
  }

  std::string command_;
  double first_ = 0, last_ = 0;
  double quickest_ = std::numeric_limits<double>::infinity();  // seconds that it runs for
  MeterFacts facts_;
};

}  // namespace

std::unique_ptr<Meter> open_command(std::string_view command) {
  if (command.find_first_not_of(' ') == std::string_view::npos)
    throw Error("--meter", "command:PROGRAM", "no program", "--meter command:/usr/local/bin/joules");
  return std::make_unique<CommandMeter>(command);
}

}  // namespace maru::measure
