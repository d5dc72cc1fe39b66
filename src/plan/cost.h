// Modelled time of a plan: what its steps would take on a machine of given speeds. A model of terms
// that add up, never a measurement. Plain values; any thread.
#pragma once

#include <map>
#include <span>
#include <string>
#include <vector>

#include "device/speed.h"
#include "plan/plan.h"

namespace maru {

// Seconds of one run, by what they go to. A kernel takes the longer of its arithmetic and its memory.
struct PlanCost {
  double compute = 0;  // kernels of the device, were memory free
  double memory = 0;   // what their reads and writes take beyond that
  double cpu = 0;      // kernels of the CPU, and its touching inputs and results in cached memory
  double uncached_reads = 0;  // the CPU reading what no cache of its holds
  double copies = 0;          // between memories
  double waits = 0, maps = 0, launches = 0;
  double uncached_read_bytes = 0;             // the CPU's
  std::map<std::string, double> by_operator;  // seconds of kernels, wherever they run

  double total() const {
    return compute + memory + cpu + uncached_reads + copies + waits + maps + launches;
  }
};

// `devices` are those of the plan; `speed` is of the first and of the CPU beside it, whose own memory
// counts as the first heap of the device that only the CPU sees. The caller's writing of inputs and
// reading of outputs, once each, is included.
PlanCost cost_of(const Plan& plan, std::span<const Device* const> devices, const MachineSpeed& speed);

// The work of one step's node, from its operands as the plan has them. Copies have bytes alone, waits
// nothing.
Cost work_of(const Step& step);

struct ModelledCost {
  PlanCost expected, best, worst;

  std::string text() const;
  std::string json() const;
};
ModelledCost cost_of(const Plan& plan, std::span<const Device* const> devices,
                     const DeviceModel& model);

}  // namespace maru
