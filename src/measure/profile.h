// ProfileResult: what `maru profile` found: each step of the plan alone, as plain values. Times in
// seconds, energy in joules, a run each; nothing (nullopt) was not measured.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "measure/result.h"

namespace maru::measure {

struct ProfiledStep {
  std::string name, op, kernel, kind, device;  // kind: "kernel", "copy", "wait", "release"
  Interval seconds;                            // of the step alone, waited for
  std::uint64_t times = 1;                     // it was launched in one sample, then waited for once
  double share = 0;                            // of the sum of all steps
  double flops = 0, bytes = 0;
  std::optional<double> roof_share;  // of the device's roof at this step's flops per byte; 1: at it
  std::optional<double> joules, uncertainty_joules;  // gross
  std::uint64_t energy_times = 0;                    // it was launched in the window of its energy

  double flops_rate() const { return seconds.value > 0 ? flops / seconds.value : 0; }
  double bytes_rate() const { return seconds.value > 0 ? bytes / seconds.value : 0; }
};

// What a device does at best, measured through maru.
struct Roof {
  std::string device;
  double flops = 0;  // a second, of a large 1 x 1 convolution in the precision of the plan; 0: n/a
  double bytes = 0;  // a second, as its kernels read its fastest memory; 0: n/a
  std::string flops_of, bytes_of;  // what was run for it

  // The flops a second that it allows at so many flops per byte, if both are known.
  std::optional<double> at(double flops_per_byte) const;
};

struct ProfileResult {
  BenchResult::Model model;
  std::string maru_version, command, when, device, device_description, memory;
  std::string photo;  // "cat.jpg, 480 x 360", or what stood in for one
  int threads = 0;
  MachineFacts machine;
  MachineState state;  // after the samples; its load is that while they were taken
  std::optional<MeterFacts> meter;
  std::vector<MeterAbsence> meter_absences;
  std::uint64_t runs = 0;  // samples of each step, and of the whole
  std::vector<Roof> roofs;
  Interval run;                    // of a whole run as it is
  double overhead_seconds = 0;     // of waiting once; included in each sample, spread over its launches
  std::vector<std::string> notes;  // what a reader must know
  std::vector<ProfiledStep> steps;

  double sum_seconds() const;  // of the medians of all steps
  // Of all steps, where each that computes or copies has it.
  std::optional<double> sum_joules() const;
};

}  // namespace maru::measure
