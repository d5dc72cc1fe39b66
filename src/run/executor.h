// Executor: runs a plan with memory of its own. Decides nothing; run() allocates nothing, except where
// a driver maps memory at another address than before, and where launches are combined: in the first
// run and after rebind(). One thread at a time; several executors of one plan may run at once.
#pragma once

#include <limits>
#include <memory>
#include <optional>
#include <span>
#include <vector>

#include "memory/ledger.h"
#include "plan/plan.h"
#include "run/host_ranges.h"
#include "run/state_memory.h"
#include "run/weights.h"

namespace maru {

class Executor {
 public:
  // `devices` are those with which the plan was made; `weights` are the plan's, packed. All must
  // outlive the executor. Throws Error naming the region for which there is not enough memory.
  // `states`, where the plan has any, have been made for it, and are not used by two runs at once.
  // With `check` every run is watched: before each step of the CPU, that the device is done with what
  // it maps and that its memory is mapped where the step was bound to. A breach is a std::logic_error.
  Executor(const Plan& plan, std::span<const Device* const> devices, const Weights& weights,
           bool check = false, const StateMemory* states = nullptr);

  Executor(const Executor&) = delete;
  Executor& operator=(const Executor&) = delete;
  ~Executor();

  // What the CPU sees of inputs and outputs must not be mapped meanwhile, unless the heap is
  // concurrent. After an Error nothing is under way, and it may be run again.
  void run();
  // One step alone, so many times (waits and hand-overs once), and waited for. What works in place then
  // has done so that often: other numbers, and for a state a step of training each time.
  void run_step(std::size_t step, std::size_t times);

  const Buffer& region(std::size_t index) const { return *buffers_[index]; }
  // The order of the work: for mapping inputs and outputs between runs.
  Queue& queue() { return *queues_[0]; }
  // Another buffer for an input's or output's region, of that shape at least; what was in the old one
  // is gone. An input's mirror grows with the shape.
  void rebind(std::size_t region, Buffer buffer, Shape shape);
  // So many of an input's bytes are in use, from `offset` of its buffer on: copies of it move no more,
  // to where they would move the first. What reads it where it stands begins at the first all the same.
  struct Used {
    std::size_t offset = 0, bytes = std::numeric_limits<std::size_t>::max();
  };
  void use(std::size_t region, std::size_t offset, std::size_t bytes) {
    used_[region] = {offset, bytes};
  }
  Used in_use(std::size_t region) const { return used_[region]; }

  const Ledger& ledger() const noexcept { return ledger_; }

 private:
  struct Bound {
    std::unique_ptr<Launch> launch;  // null for waits, releases and transfers
    std::size_t ledger_entry = 0;    // for copies
    // While checking: where the CPU's step was told that its mapped operands are.
    std::vector<const void*> addresses{};
  };

  // Steps of the device that one launch runs.
  struct Row {
    std::size_t begin = 0, end = 0;
    std::unique_ptr<Launch> launch;  // null until they run, and where one of them was bound anew
  };

  void run_steps();
  void run_alone(std::size_t step);
  void run_row(Row& row);
  void combine(Row& row) const;
  void settle() noexcept;
  void set_buffer(std::size_t region, Buffer buffer);
  std::unique_ptr<Launch> bind(std::size_t step) const;
  // Whether the CPU's step reaches the operand through a mapping.
  bool is_through_map(const Step& step, const Operand& operand) const;
  // Of what the step reaches so, in order.
  std::vector<const void*> addresses_of(std::size_t step) const;
  void rebind_step(std::size_t step);
  void watch(std::size_t step);
  // Binds again the steps of the CPU that use ranges of this hand-over.
  void bind_with(std::size_t hand_over);
  std::size_t bytes_to_copy(const Step& step) const;

  const Plan& plan_;
  std::span<const Device* const> devices_;
  std::vector<std::unique_ptr<Queue>> queues_;  // per device
  std::vector<Buffer> own_;                     // per region; weights stay empty
  std::vector<const Buffer*> buffers_;          // per region
  std::vector<std::optional<Shape>> reshaped_;  // per region; by rebind()
  std::vector<Used> used_;                      // per region; by use()
  std::unique_ptr<HostRanges> host_ranges_;
  std::vector<Bound> steps_;
  std::vector<Row> rows_;  // of two steps or more; in order
  bool check_;
  bool is_device_busy_ = false;  // while checking: given work since it was last waited for
  Ledger ledger_;
};

}  // namespace maru
