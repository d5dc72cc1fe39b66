// Trainer: trains one network on one device: plans the graph of gradients and that of the update once,
// owns the parameters and the memory of both, and runs them in turns. One thread at a time.
//
// Of several ranks each has a Trainer, for its share of every batch; all call pass(), update() and
// share() in the same order.
#pragma once

#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "device/communicator.h"
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
  // The ranks that train this network together; the devices were opened with it. Null: one alone. It
  // says `rank` and `ranks` of `training`.
  std::shared_ptr<Communicator> communicator = {};
};

class Trainer {
 public:
  // `devices` as make_plan() has them; they outlive this. Parameters begin as the network has them, of
  // several ranks that of rank 0. Throws Error for a network that cannot be trained so, when there is
  // not enough memory, and on all ranks when networks or options differ between them.
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

  // All ranks go on from what rank 0 has: states and number of updates. To be called when these were
  // set from outside, by a snapshot. Nothing happens where there is one rank.
  void share();
  // Throws Error on all ranks where parameters or what the solver remembers of them are not the same on
  // all: for when they are written, since ranks that drift apart would else not be noticed.
  void require_same_states() const;

  const std::vector<Parameter>& parameters() const { return parameters_; }
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
  // What has to be the same on all ranks, beside the network.
  std::string described() const;
  std::span<float> look(Part& part, const std::vector<Port>& ports, std::string_view name,
                        Access access);

  const TrainerOptions options_;
  std::vector<const Device*> devices_;
  std::vector<Parameter> parameters_;
  StateMemory states_;
  std::unique_ptr<Part> gradients_, update_;
  std::int64_t passes_ = 0, updates_ = 0;
};

}  // namespace maru
