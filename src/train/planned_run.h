// PlannedRun: a graph that was planned, with its memory, to be run again and again: what a trainer runs
// in turns. Owned by who made it; its devices and states outlive it. One thread at a time.
#pragma once

#include <map>
#include <memory>
#include <optional>
#include <span>
#include <string_view>

#include "plan/planner.h"
#include "run/executor.h"

namespace maru {

class PlannedRun {
 public:
  // Makes room among the states for those of the graph. Throws Error for what no device can run, and
  // when there is not enough memory.
  PlannedRun(const Graph& graph, std::span<const Device* const> devices, const PlanOptions& options,
             StateMemory& states);
  PlannedRun(const PlannedRun&) = delete;
  PlannedRun& operator=(const PlannedRun&) = delete;
  ~PlannedRun();

  // What the next run reads, and what the last one gave; good until the next run. Throws Error for a
  // name that is none of them.
  std::span<float> input(std::string_view name);
  std::span<const float> output(std::string_view name);
  // The first so many bytes of an input, which are all that is in use of it: what is copied to a device
  // is no more.
  std::span<std::byte> input_bytes(std::string_view name, std::size_t bytes);

  // Memory for an input so many times over, each `bytes` large, which others write while runs are under
  // way: all but what the next run reads. To be made once, between runs. Where `is_framed`, another
  // input says where in the memory its parts are, from the first on. Empty where the device cannot work
  // beside the CPU on such memory, its kernels read it and nothing says where, or there is no room.
  // Else the input is written there alone from then on.
  std::span<const std::span<std::byte>> make_slots(std::string_view name, std::size_t bytes,
                                                   std::size_t count, bool is_framed);
  // Whether runs copy what is in use of a slot, instead of reading it where it stands.
  bool copies_slots(std::string_view name) const;
  // Bytes of a slot are what the next run reads of that input. Returns how far the slot is from where
  // frames count from; nothing where the bytes are in no slot.
  std::optional<std::size_t> take_slot(std::string_view name, std::span<const std::byte> bytes);

  void run();
  // One step of the plan alone, for measuring.
  void run_step(std::size_t step, std::size_t times);

  // Nobody looks at anything, and all that was run is done.
  void settle();
  // What an input holds; after settle().
  HostView settled_input(const Port& port);
  // Inputs become what those of the same names are there, which is settled; of slots, the one in use.
  void copy_inputs(PlannedRun& from);

  const Plan& plan() const { return planned_.plan; }
  // What it takes beside the states: arena, weights, inputs and their slots, outputs.
  std::size_t memory_bytes() const;

 private:
  struct Slots {
    std::vector<std::span<std::byte>> memory;
    bool is_copied = false;
    HostView view;
  };

  std::span<std::byte> look(const std::vector<Port>& ports, std::string_view name, Access access);
  std::span<const Device* const> devices_;
  Planned planned_;
  Weights weights_;
  std::optional<Executor> executor_;
  std::map<std::size_t, HostView> views_;  // per region; end before the executor
  std::map<std::size_t, Slots> slots_;     // likewise
};

}  // namespace maru
