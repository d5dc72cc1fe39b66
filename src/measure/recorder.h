// Recorder: reads a meter in a thread of its own and says afterwards what was used in each window.
// Windows are opened and closed by the thread that works. Owns the thread, not the meter.
#pragma once

#include <memory>
#include <vector>

#include "measure/meter.h"

namespace maru::measure {

struct WindowEnergy {
  double begin = 0, end = 0;  // now_seconds()
  double joules = 0;
  // Half the width of what it may be off, from the meter's period and steps at the two edges, not from
  // its calibration.
  double uncertainty_joules = 0;
  // Where the meter tells both: the integral of its power, to be held against its counter.
  std::optional<double> power_joules{};
};

class Recorder {
 public:
  // Reads three times each period of the meter, at most 1000 times a second.
  explicit Recorder(Meter& meter);
  ~Recorder();
  Recorder(const Recorder&) = delete;
  Recorder& operator=(const Recorder&) = delete;

  // Windows follow one another and do not overlap. Throw Error where the meter failed.
  void open();
  void close();

  // Waits until the meter has told what came after the last window, then ends the thread.
  // Throws Error where the meter failed meanwhile.
  void finish();
  // After finish(): of each window, in order; and every reading that was new.
  const std::vector<WindowEnergy>& windows() const;
  const std::vector<Reading>& trace() const;

 private:
  struct State;
  std::unique_ptr<State> state_;
};

// Energy between two moments. `trace` must reach beyond both; readings that repeat the one before them
// (the meter had nothing new) are left out of it. Counters are interpolated between updates, power is
// integrated by trapezoids. Throws Error when the trace does not cover the window.
WindowEnergy energy_between(const std::vector<Reading>& trace, const MeterFacts& facts, double begin,
                            double end);

}  // namespace maru::measure
