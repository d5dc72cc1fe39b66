// The planner: the only room that decides. Graph and device in, Plan out; the same input gives the same
// plan.
#pragma once

#include "plan/plan.h"

namespace maru {

struct PlanOptions {
  MemoryPolicy policy = MemoryPolicy::automatic;
  double expected_runs = 1000;  // over which a longer preparation may pay off
  int compile_threads = 1;      // kernels are compiled in so many threads at once
};

// Throws Error naming the node when the device cannot run it.
Planned make_plan(const Graph& graph, const Device& device, const PlanOptions& options);

}  // namespace maru
