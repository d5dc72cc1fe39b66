// Meter: something that tells how much energy was used, and by what. One file for each kind in
// measure/meters; open_meter() is the only way to them. A meter is read by one thread at a time.
#pragma once

#include <maru/error.h>

#include <cstdint>
#include <filesystem>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "device/worker.h"

namespace maru::measure {

// What a figure of this meter is worth. Every energy figure is shown with these.
struct MeterFacts {
  enum class Boundary : std::uint8_t { wall, board, module, rail, chip, unknown };
  enum class Class : std::uint8_t {
    measured,   // a sensor in the path of the current
    estimated,  // summed from sensors that do not see all of it, or from a model in the firmware
    modelled,   // no sensor at all
  };

  std::string name;    // "nvml": what --meter takes
  std::string source;  // "energy counter of GPU 0, NVIDIA H200, driver 580.95"
  Boundary boundary = Boundary::board;
  Class grade = Class::measured;
  double period_seconds = 0;     // between two updates; probed where that is possible
  double resolution_joules = 0;  // smallest step of the counter; 0: it has no counter
  double resolution_watts = 0;   // smallest step of power; 0: it tells none
  std::string blind;             // what it cannot see: "the CPU and its memory"
};

std::string_view to_string(MeterFacts::Boundary boundary);
std::string_view to_string(MeterFacts::Class grade);

// At one moment. What the meter does not tell is nothing, never 0.
struct Reading {
  double seconds = 0;              // now_seconds(), in the middle of the query
  std::optional<double> joules{};  // since the meter was opened; never goes back (wraps are undone)
  std::optional<double> watts{};
};

// Seconds of the steady clock: the one time of readings, windows and runs.
double now_seconds();

class Meter {
 public:
  virtual ~Meter() = default;
  virtual const MeterFacts& facts() const = 0;
  // Throws Error when the meter is gone, or what it says makes no sense.
  virtual Reading read() = 0;
  // Meters that integrate by themselves (WT310E) do so between start() and stop(), which returns the
  // joules; the others are read at the edges instead. read() goes on meanwhile, by the same thread.
  virtual bool integrates() const { return false; }
  virtual void start() {}
  virtual double stop() { return 0; }
};

struct MeterOptions {
  std::optional<int> gpu{};                // NVIDIA GPU that does the work; none: CUDA does not
  std::string gpu_name = "";               // what CUDA calls it; empty: not known
  Worker worker = Worker::host;            // the chip that does the work, where gpu is none
  std::filesystem::path root = "/";        // of /sys, /proc and /dev; tests have their own
  std::string nvml = "libnvidia-ml.so.1";  // libraries that are opened
  std::string lxi = "liblxi.so.1";
};

// Why a meter that was looked for is not there, and what would enable it.
struct MeterAbsence {
  std::string name, why, remedy;
};

// `spec`: auto, none, nvml, rapl, jetson, pi5, wt310e:ADDRESS, command:PROGRAM. auto takes the first
// that is there and sees the chip that works, of nvml (with options.gpu), jetson, pi5, rapl; null
// when none is, or for "none"; `absences` says why of each. Throws Error for a spec that is none of
// these, and when a meter that was named cannot be used.
std::unique_ptr<Meter> open_meter(std::string_view spec, const MeterOptions& options,
                                  std::vector<MeterAbsence>& absences);

}  // namespace maru::measure
