// The planner: the only room that decides. Graph and devices in, Plan out; the same input gives the
// same plan.
#pragma once

#include <map>
#include <span>
#include <string>
#include <vector>

#include "device/speed.h"
#include "plan/plan.h"

namespace maru {

struct PlanOptions {
  MemoryPolicy policy = MemoryPolicy::automatic;
  Precision precision = Precision::fp32;  // of the graph and of the devices, which the plan says
  double expected_runs = 1000;            // over which a longer preparation may pay off
  int compile_threads = 1;                // kernels are compiled in so many threads at once
  std::vector<DeviceSpeed> speeds{};      // of the devices; empty: assumed_speed()
  bool weights_in_file = false;           // packed weights come from a mapped file
  bool check = false;                     // prove the plan (plan/check.h) before it is given away
  // Heaps to take whatever the policy says: by a value's name, or "kernels" for what the device alone
  // touches, the heap's name; kApart for a value that shall live once on each side.
  std::map<std::string, std::string> heaps{};
  static constexpr const char* kApart = "apart";
  // The offer that each node named here must take: those of an earlier plan, whose packed weights are
  // to be used again.
  std::map<std::string, std::string> choices{};
};

// devices[0] computes; one behind it may be the CPU, which runs what the first has no kernel for.
// Throws Error naming the node when none can run it.
Planned make_plan(const Graph& graph, std::span<const Device* const> devices,
                  const PlanOptions& options);

// On one device alone.
Planned make_plan(const Graph& graph, const Device& device, const PlanOptions& options);

}  // namespace maru
