// ProfileResult: what `maru profile` found: each step of the plan alone, as plain values. Times in
// seconds, energy in joules, an image each; nothing (nullopt) was not measured.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "measure/result.h"

namespace maru::measure {

struct ProfiledStep {
  std::string name, op, kernel, kind, device;  // kind: "kernel", "copy", "wait", "release"
  Interval seconds;                            // of the step alone, waited for
  double share = 0;                            // of the sum of all steps
  double flops = 0, bytes = 0;
  std::optional<double> roof_share;  // of the device's roof at this step's flops per byte; 1: at it
  std::optional<double> joules, uncertainty_joules;
};

struct ProfileResult {
  BenchResult::Model model;
  std::string maru_version, command, when, device, device_description, memory;
  MachineFacts machine;
  std::optional<MeterFacts> meter;
  std::vector<MeterAbsence> meter_absences;
  double roof_flops = 0, roof_bytes = 0;  // a second, as measured here; 0: not known
  double run_seconds = 0;                 // of a whole run as it is, median
  double overhead_seconds = 0;            // of waiting for one step alone, included in each
  std::vector<ProfiledStep> steps;
};

}  // namespace maru::measure
