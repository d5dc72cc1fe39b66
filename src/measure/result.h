// BenchResult: all that `maru bench` found, as plain values: what reports are made from, and what is
// kept as JSON. Times in seconds, energy in joules, sizes in bytes; nothing (nullopt) was not measured.
#pragma once

#include <cstdint>
#include <filesystem>
#include <optional>
#include <string>
#include <vector>

#include "measure/machine.h"
#include "measure/meter.h"

namespace maru::measure {

// A figure with its 95 % interval.
struct Interval {
  double value = 0, low = 0, high = 0;
};

// Runs of one way, one after another, with nothing between them.
struct Block {
  std::size_t way = 0;            // index into BenchResult::ways
  double begin = 0, end = 0;      // now_seconds(), from the first block's begin
  std::vector<double> seconds{};  // of each run; of long blocks an even sample of at most 10,000
  std::uint64_t runs = 0;
  std::optional<double> joules{}, uncertainty_joules{}, power_joules{};  // gross, of the block
  MachineState state{};                                                  // right after it
};

// Of one image, where in a run time goes; taken apart from the blocks, since looking costs time.
struct Stages {
  std::optional<double> decode, preprocess, copy_in, infer, copy_out;
};

struct WayResult {
  std::string name;  // "copy"
  Interval median;   // of a run
  double mean = 0, p90 = 0, p99 = 0, min = 0, max = 0;
  std::optional<Interval> joules;                  // an image, gross
  std::optional<Interval> joules_net;              // an image, less what the machine takes when idle
  std::optional<Interval> cold_start;              // exec to first label, in processes of their own
  std::optional<std::uint64_t> peak_host_bytes;    // resident, of such a process
  std::optional<std::uint64_t> peak_device_bytes;  // that the device holds for it
  std::uint64_t copied_bytes = 0, crossing_bytes = 0;  // an image, by the ledger
  Stages stages;
  std::string label;  // the best, and its score
  double score = 0;
};

// A way against the first one, paired by blocks: value < 1 means that it needs less.
struct WayRatio {
  std::size_t way = 0;
  Interval seconds;
  std::optional<Interval> joules;
};

struct Check {
  enum class Verdict : std::uint8_t { passed, unstable, failed };
  std::string name;  // "outputs", "ledger", "drift"
  Verdict verdict = Verdict::passed;
  std::string text;  // what was found, in a sentence
};

struct BenchResult {
  struct Model {
    std::string name, path, sha256;  // of the weights' file
    std::vector<std::int64_t> input;
    std::string precision;
    std::int64_t batch = 1;
  };
  struct Method {
    std::uint64_t images = 0, blocks = 0, warmup = 0, seed = 0;  // a block at least; of each way
    double block_seconds = 0;  // at least, for the meter's sake; 0: it did not matter
    std::string photo;         // "cat.jpg, 480 x 360"
    int threads = 0;
    std::string order;  // "ABBA BAAB": of the ways, a letter a block
  };

  std::string maru_version, command, when;  // when: ISO 8601, UTC
  std::string device, device_description;
  MachineFacts machine;
  Model model;
  Method method;
  std::optional<MeterFacts> meter;
  std::vector<MeterAbsence> meter_absences;  // where there is no meter: why, and what would enable one
  std::optional<double> idle_watts;
  std::vector<WayResult> ways;
  std::vector<Block> blocks;
  std::vector<WayRatio> ratios;  // of all ways but the first
  std::vector<Check> checks;
  std::vector<Reading> power;  // the trace, thinned to at most 4,000; seconds from the first block

  bool is_unstable() const {
    for (const Check& check : checks)
      if (check.verdict == Check::Verdict::unstable) return true;
    return false;
  }
};

}  // namespace maru::measure
