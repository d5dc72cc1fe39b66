// Tuning: which of several ways to run a call is fastest on this device. Each runs a few times on
// memory of its own; what was found is kept in the cache folder, for this device and driver.
#pragma once

#include <functional>
#include <string>
#include <vector>

#include "backends/cuda/provider.h"

namespace maru::cuda {

struct Trials {
  std::string call;                   // what is computed, on what
  std::vector<std::string> names;     // of the ways; one is kept by its name
  std::vector<std::size_t> src, dst;  // bytes of each operand, the most that any way needs
  std::size_t workspace = 0;          // likewise
};

// The place of the fastest way. `stages` makes one ready, and is not called where the answer was kept.
// A way that fails is not chosen; the first where all do.
std::size_t fastest(const Runtime& runtime, const Trials& trials,
                    const std::function<std::vector<Stage>(std::size_t)>& stages);

}  // namespace maru::cuda
