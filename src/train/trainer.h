// Trainer: trains one network on one device: plans the graph of gradients and that of the update once,
// owns the parameters and the memory of both, and runs them in turns. One thread at a time.
#pragma once

#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "plan/planner.h"
#include "rewrite/training.h"
#include "run/executor.h"

namespace maru {

struct TrainerOptions {
  TrainingOptions training;
  Update solver;
  MemoryPolicy policy = MemoryPolicy::automatic;
  std::int64_t passes = 1;    // whose gradients are added up before an update (Caffe: iter_size)
  double clip_gradients = 0;  // the norm of all gradients is at most this; 0: as it is
  double l2_decay = 0, l1_decay = 0;
};

class Trainer {
 public:
  // `devices` as make_plan() has them; they outlive this. Parameters begin as the network has them.
  // Throws Error for a network that cannot be trained so, and when there is not enough memory.
  Trainer(Graph network, std::span<const Device* const> devices, const TrainerOptions& options);
  Trainer(const Trainer&) = delete;
  Trainer& operator=(const Trainer&) = delete;
  ~Trainer();

  // What the next pass reads; good until then. Throws Error for a name that is no input.
  std::span<float> input(std::string_view name);
  // One pass: losses, and gradients, which are added to those since the last update. Where it throws
  // midway with several passes an update, some have been added: no way to go on.
  void pass();
  // Of the last pass. Throws Error for a name that is no output.
  std::span<const float> output(std::string_view name);
  // After `passes` passes. Returns the norm of all gradients; where that is not finite nothing has
  // changed but that the gradients are cleared.
  double update(double rate);

  const std::vector<Parameter>& parameters() const { return parameters_; }
  // What batch normalisation records in each pass: states, for the network as it is used.
  const std::vector<Statistic>& statistics() const { return statistics_; }
  // Parameters, and what the solver remembers of them (Parameter::memory()); gradients too.
  const StateMemory& states() const { return states_; }
  std::int64_t updates() const { return updates_; }
  // When training goes on where another ended.
  void set_updates(std::int64_t updates) { updates_ = updates; }

  // Bytes that training takes on the device: states, and what both plans need beside them.
  std::size_t state_bytes() const { return states_.bytes(); }
  std::size_t arena_bytes() const;
  const Plan& plan() const;  // of the gradients

 private:
  struct Part;
  std::span<float> look(Part& part, const std::vector<Port>& ports, std::string_view name,
                        Access access);

  const TrainerOptions options_;
  std::vector<const Device*> devices_;
  std::vector<Parameter> parameters_;
  std::vector<Statistic> statistics_;
  StateMemory states_;
  std::unique_ptr<Part> gradients_, update_;
  std::int64_t passes_ = 0, updates_ = 0;
};

}  // namespace maru
