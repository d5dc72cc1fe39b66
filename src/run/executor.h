// Executor: runs a plan with memory of its own. Decides nothing; run() allocates nothing. One thread at
// a time; several executors of one plan may run at once.
#pragma once

#include <memory>
#include <optional>
#include <vector>

#include "memory/ledger.h"
#include "plan/plan.h"

namespace maru {

class Executor {
 public:
  // `weights` holds the plan's packed constants (pack_constants) and, like the plan and the device,
  // must outlive the executor. Throws Error naming the region for which there is not enough memory.
  Executor(const Plan& plan, const Device& device, const Buffer& weights);

  void run();

  const Buffer& region(std::size_t index) const {
    return index == Plan::kWeights ? weights_ : buffers_[index];
  }
  // Another buffer for an input's or output's region, of that shape; what was in the old one is gone.
  void rebind(std::size_t region, Buffer buffer, Shape shape);

  const Ledger& ledger() const noexcept { return ledger_; }

 private:
  struct Bound {
    std::unique_ptr<Launch> launch;
    bool is_copy = false;
    std::size_t bytes = 0, ledger_entry = 0;  // for copies
  };
  std::unique_ptr<Launch> bind(const Step& step) const;

  const Plan& plan_;
  const Buffer& weights_;
  std::unique_ptr<Queue> queue_;
  std::vector<Buffer> buffers_;                 // per region; weights stay empty
  std::vector<std::optional<Shape>> reshaped_;  // per region; by rebind()
  std::vector<Bound> steps_;
  Ledger ledger_;
};

// Allocates the plan's weights and packs every constant into them. Empty when the plan has none.
Buffer pack_constants(const Planned& planned);

}  // namespace maru
