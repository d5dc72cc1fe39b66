#include "measure/recorder.h"

#include <algorithm>
#include <chrono>
#include <condition_variable>
#include <mutex>
#include <optional>
#include <thread>

#include "base/error.h"

namespace maru::measure {
namespace {

// A third of a period, not half: so that one read that comes late still makes two each period.
double read_interval(double period) { return period > 0 ? std::max(period / 3, 1e-3) : 10e-3; }

// Longer than this without anything new, and the meter is stuck. A period may be assumed, so that what
// was seen counts, too: the longest time between two values, and how long the last one stands.
double patience(double period, double longest, double standing) {
  constexpr double kMost = 30;
  return std::max({20 * period, 2.0, 3 * longest, std::min(2 * standing, kMost)});
}

std::chrono::steady_clock::time_point time_point(double seconds) {
  return std::chrono::steady_clock::time_point(
      std::chrono::duration_cast<std::chrono::steady_clock::duration>(
          std::chrono::duration<double>(seconds)));
}

// What a meter that integrates by itself says of a window. It begins and ends at updates of its own, so
// that each edge is off by up to a period at the power around it.
WindowEnergy own_energy(const std::vector<Reading>& trace, const MeterFacts& facts, double begin,
                        double end, double joules) {
  const double near = 2 * facts.period_seconds;
  double edges[2] = {0, 0};
  bool known[2] = {false, false};
  for (const Reading& reading : trace)
    for (int edge = 0; edge < 2; ++edge) {
      if (!reading.watts || std::abs(reading.seconds - (edge == 0 ? begin : end)) > near) continue;
      edges[edge] = std::max(edges[edge], *reading.watts);
      known[edge] = true;
    }
  double off = 2 * facts.resolution_joules;
  for (int edge = 0; edge < 2; ++edge)
    off += facts.period_seconds * (known[edge] ? edges[edge] : joules / std::max(end - begin, 1e-9));
  WindowEnergy result{.begin = begin, .end = end, .joules = joules, .uncertainty_joules = off};
  try {
    result.power_joules = energy_between(trace, facts, begin, end).joules;
  } catch (const Error&) {  // it tells no power, or too little of it
  }
  return result;
}

}  // namespace

struct Recorder::State {
  enum class Wish : std::uint8_t { none, start, stop };
  struct Window {
    double begin = 0, end = 0;
    std::optional<double> own_joules{};  // of a meter that integrates
  };

  explicit State(Meter& from) : meter(from), facts(from.facts()), integrates(from.integrates()) {}

  Meter& meter;
  const MeterFacts facts;
  const bool integrates;

  std::mutex mutex;  // guards all below
  std::condition_variable changed;
  Wish wish = Wish::none;
  bool ending = false, ended = false, is_open = false;
  std::optional<Error> error;
  std::vector<Reading> trace;
  std::vector<Window> windows;
  double last_new = 0;  // when the counter, or where there is none the power, was new last
  double longest = 0;   // between two such moments
  std::uint64_t readings = 0;
  std::vector<WindowEnergy> results;
  std::thread thread;

  void work();
  void add(const Reading& reading);
  void grant(std::unique_lock<std::mutex>& lock);
  void check() const {
    if (error) throw Error(*error);
  }
};

// Only what is new is kept. Of a counter that is another value; power may be the same for long and is
// new after a period, lest the next one seems to have begun to change here.
void Recorder::State::add(const Reading& reading) {
  const bool counts = reading.joules.has_value();
  bool is_new = true;
  if (!trace.empty()) {
    const Reading& before = trace.back();
    const bool same = reading.joules == before.joules && reading.watts == before.watts;
    const bool late = reading.seconds - before.seconds >= facts.period_seconds;
    if (same && (counts || !late)) return;
    is_new = !counts || reading.joules != before.joules;
  }
  if (is_new && !trace.empty()) longest = std::max(longest, reading.seconds - last_new);
  if (is_new) last_new = reading.seconds;
  trace.push_back(reading);
}

// start() takes effect as it returns and stop() as it is called, so that the window lies between them.
void Recorder::State::grant(std::unique_lock<std::mutex>& lock) {
  const Wish wanted = wish;
  lock.unlock();
  if (wanted == Wish::start) {
    meter.start();
    const double begin = now_seconds();
    lock.lock();
    windows.push_back({.begin = begin});
  } else {
    const double end = now_seconds(), joules = meter.stop();
    lock.lock();
    windows.back().end = end;
    windows.back().own_joules = joules;
  }
  wish = Wish::none;
  changed.notify_all();
}

void Recorder::State::work() {
  const double interval = read_interval(facts.period_seconds);
  std::unique_lock lock(mutex);
  try {
    double next = now_seconds();
    while (!ending) {
      changed.wait_until(lock, time_point(next), [&] { return ending || wish != Wish::none; });
      if (ending) break;
      if (wish != Wish::none) grant(lock);
      lock.unlock();
      const Reading reading = meter.read();
      lock.lock();
      ++readings;
      add(reading);
      changed.notify_all();
      next = std::max(next + interval, now_seconds());
    }
  } catch (const std::exception& thrown) {
    if (!lock.owns_lock()) lock.lock();
    const auto* ours = dynamic_cast<const Error*>(&thrown);
    error = ours != nullptr ? *ours
                            : Error(fmt::format("meter {}", facts.name), "a reading", thrown.what(),
                                    "--meter none");
  }
  ended = true;
  changed.notify_all();
}

Recorder::Recorder(Meter& meter) : state_(std::make_unique<State>(meter)) {
  state_->thread = std::thread([state = state_.get()] { state->work(); });
}

Recorder::~Recorder() {
  {
    const std::lock_guard lock(state_->mutex);
    state_->ending = true;
    state_->changed.notify_all();
  }
  if (state_->thread.joinable()) state_->thread.join();
}

void Recorder::open() {
  std::unique_lock lock(state_->mutex);
  MARU_ASSERT(!state_->is_open && !state_->ending);
  // What was used at the begin is told only by readings from before it.
  state_->changed.wait(lock, [&] { return state_->ended || !state_->trace.empty(); });
  state_->check();
  if (state_->integrates) {
    state_->wish = State::Wish::start;
    state_->changed.notify_all();
    state_->changed.wait(lock, [&] { return state_->ended || state_->wish == State::Wish::none; });
    state_->check();
  } else {
    state_->windows.push_back({.begin = now_seconds()});
  }
  state_->is_open = true;
}

void Recorder::close() {
  const double now = now_seconds();
  std::unique_lock lock(state_->mutex);
  MARU_ASSERT(state_->is_open);
  state_->is_open = false;
  state_->check();
  if (state_->integrates) {
    state_->wish = State::Wish::stop;
    state_->changed.notify_all();
    state_->changed.wait(lock, [&] { return state_->ended || state_->wish == State::Wish::none; });
    state_->check();
  } else {
    state_->windows.back().end = now;
  }
}

void Recorder::finish() {
  State& state = *state_;
  std::unique_lock lock(state.mutex);
  state.check();
  MARU_ASSERT(!state.is_open);
  if (state.thread.joinable()) {
    if (!state.windows.empty()) {
      // A value may be a period old, and two periods show that the end is passed for sure.
      const double until = state.windows.back().end + 2 * state.facts.period_seconds;
      const double now = now_seconds();
      const double patient = patience(state.facts.period_seconds, state.longest, now - state.last_new);
      const auto told = [&] { return state.last_new >= until; };
      state.changed.wait_until(lock, time_point(now + patient), [&] { return state.ended || told(); });
      // A process that stood still all that time has not asked the meter yet.
      const std::uint64_t before = state.readings;
      state.changed.wait(lock, [&] { return state.ended || told() || state.readings >= before + 2; });
      if (!state.error && !told())
        state.error =
            Error(fmt::format("meter {}", state.facts.name), "a new value after the window's end",
                  fmt::format("the same for {:.1f} s", patient),
                  "whether the meter is held or has stopped, or --meter none");
    }
    state.ending = true;
    state.changed.notify_all();
    lock.unlock();
    state.thread.join();
    lock.lock();
  }
  state.check();
  if (!state.results.empty()) return;
  for (const State::Window& window : state.windows)
    state.results.push_back(
        window.own_joules
            ? own_energy(state.trace, state.facts, window.begin, window.end, *window.own_joules)
            : energy_between(state.trace, state.facts, window.begin, window.end));
}

const std::vector<WindowEnergy>& Recorder::windows() const { return state_->results; }
const std::vector<Reading>& Recorder::trace() const { return state_->trace; }

}  // namespace maru::measure
