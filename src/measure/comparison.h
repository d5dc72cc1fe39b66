// Comparison: runs several ways of doing the same in turns and says when each run was. What it needs of
// its surroundings (clock, meter, machine) is handed to it, so that it can be tested without. Owns
// nothing; one thread.
#pragma once

#include <cstdint>
#include <functional>
#include <string>
#include <vector>

#include "measure/result.h"

namespace maru::measure {

struct Way {
  std::string name;
  std::function<void()> run;
};

struct ComparisonOptions {
  std::uint64_t images = 100;  // runs of each way at least, in all its blocks
  std::uint64_t blocks = 6;    // of each way
  std::uint64_t warmup = 10;   // runs of each way before the first block
  std::uint64_t seed = 1;      // of the order
  double block_seconds = 0;    // a block is at least as long
  double idle_seconds = 0;     // of doing nothing, in a window of its own before all blocks; 0: none
  double settle_seconds = 0;   // of doing nothing before that
};

struct Surroundings {
  std::function<double()> now;               // seconds; of Block::begin and end
  std::function<void(double)> sleep;         // seconds
  std::function<void()> open, close;         // a window of the meter; around idling and each block
  std::function<void()> before;              // a block, outside its window
  std::function<MachineState()> state;       // after a block, outside its window
  std::function<void(std::uint64_t)> ended;  // so many blocks, of all ways
};

struct Timeline {
  std::vector<Block> blocks;  // in the order in which they were run; begin and end from the first begin
  std::string order;          // "ABBA BAAB": of the ways, a letter a block, a space every two rounds
  double zero = 0;            // now() at the first block's begin
};

// Each round has a block of every way. Rounds go in pairs, the second in the reverse order of the
// first, so that a drift that is linear in time hits all ways alike: ABBA or BAAB for two ways, by the
// seed; a permutation by the seed and its reverse for more. What a way throws ends the comparison.
Timeline compare(const std::vector<Way>& ways, const ComparisonOptions& options,
                 const Surroundings& surroundings);

// How long a block must be for the meter to tell: 100 of its periods, a tenth of a second at least
// and half a minute at most; 0 where its period is not known.
double block_seconds_for(const MeterFacts& facts);

}  // namespace maru::measure
