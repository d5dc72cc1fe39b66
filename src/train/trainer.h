// Trainer: trains one network on one device: plans the graph of gradients and that of the update once,
// owns the parameters and the memory of both, and runs them in turns. One thread at a time.
//
// Of several ranks each has a Trainer, for its share of every batch; all call pass(), update() and
// share() in the same order.
#pragma once

#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "device/communicator.h"
#include "plan/planner.h"
#include "rewrite/training.h"
#include "run/state_memory.h"
#include "train/first_bad.h"
#include "train/loss_scale.h"
#include "train/planned_run.h"

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
  // Of fp16: data and gradients are halves, what they are summed up in, parameters, losses and what the
  // solver remembers are not; and losses are scaled. The devices are opened with it.
  Precision precision = Precision::fp32;
  // Of the devices, as PlanOptions::speeds; none: they are assumed.
  std::vector<DeviceSpeed> speeds = {};
  // Inputs that are copied to a device beside the CPU, whatever that costs, unless the policy is
  // zero_copy: others may write ahead then (PlannedRun::make_slots).
  std::vector<std::string> copied = {};
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

  // What the next pass reads; good until then. "step" and "loss scale" are pass()'s to write. Throws
  // Error for a name that is no input.
  std::span<float> input(std::string_view name) { return gradients_->input(name); }
  // What a pass runs, for whoever feeds it photos.
  PlannedRun& gradients() { return *gradients_; }
  // One pass: losses, and gradients, which are added to those since the last update. Where it throws
  // midway with several passes an update, some have been added: no way to go on.
  void pass();
  // Of the last pass. Throws Error for a name that is no output.
  std::span<const float> output(std::string_view name) { return gradients_->output(name); }
  // After `passes` passes. Returns the norm of all gradients; where that is not finite nothing has
  // changed but that the gradients are cleared, and in fp16 that the loss scale is lower.
  double update(double rate);
  // Of an update that has changed nothing: whether training may go on, since it is the loss scale that
  // was too large. False where a loss is not finite either, or the scale was at its least.
  bool was_overflow() const { return was_overflow_; }
  // The first parameter, input or, in order of the graph, result that is not finite, by the numbers of
  // the last pass, which is run again, watched; nothing where all are finite. After pass() or an
  // update() that has changed nothing, before inputs are written again. Slow: plans, and takes the
  // memory of a pass beside it. Throws Error where there is not enough. Of this rank alone: the others
  // take no part.
  std::optional<FirstBad> find_first_bad();

  // A network that reads what is trained, and changes nothing: constants that are called as states are
  // these states, the others stay. It must not outlive the trainer, and runs between passes. Throws
  // Error as the constructor does, and for a parameter of another shape than the trained one.
  // `copied`: its inputs, as TrainerOptions::copied.
  std::unique_ptr<PlannedRun> evaluation(Graph network, const std::vector<std::string>& copied = {});

  // All ranks go on from what rank 0 has: states, number of updates and loss scale. To be called when
  // these were set from outside, by a snapshot. Nothing happens where there is one rank.
  void share();
  // Running statistics become rank 0's, which are those that a snapshot has: before what is trained is
  // tested together.
  void share_statistics();
  // Throws Error on all ranks where parameters or what the solver remembers of them are not the same on
  // all: for when they are written, since ranks that drift apart would else not be noticed.
  void require_same_states() const;

  const std::vector<Parameter>& parameters() const { return parameters_; }
  // What batch normalisation records in each pass: states, for the network as it is used.
  const std::vector<Statistic>& statistics() const { return statistics_; }
  // Parameters, and what the solver remembers of them (Parameter::memory()); gradients too.
  const StateMemory& states() const { return states_; }
  std::int64_t updates() const { return updates_; }
  // When training goes on where another ended.
  void set_updates(std::int64_t updates) { updates_ = updates; }
  // A scale of 1 that stays, but in fp16. Set before the passes of an update. Throws Error for a scale
  // out of its bounds; other precisions have no use for it.
  const LossScale& loss_scale() const { return scale_; }
  void set_loss_scale(const LossScale& scale);
  // What was done to have it in fp16, and which layers stayed in fp32 for what reason.
  const std::vector<std::string>& notes() const { return notes_; }

  // Bytes that training takes on the device: states, and what both plans need beside them.
  std::size_t state_bytes() const { return states_.bytes(); }
  std::size_t arena_bytes() const;
  std::size_t memory_bytes() const;  // arenas, frozen parameters, inputs and outputs
  // Layers that are computed again on the way back (TrainingOptions::recompute).
  std::size_t recomputed() const { return recomputed_; }
  const Plan& plan() const;  // of the gradients
  // One step of that plan alone, after a pass, so many times: for measuring. No way to go on from.
  void run_step(std::size_t step, std::size_t times) { gradients_->run_step(step, times); }

 private:
  // What has to be the same on all ranks, beside the network.
  std::string described() const;
  bool are_losses_finite();
  bool is_scaled() const { return options_.precision == Precision::fp16; }

  const TrainerOptions options_;
  std::vector<const Device*> devices_;
  std::vector<Parameter> parameters_;
  std::vector<Statistic> statistics_;
  std::vector<std::string> notes_;
  Graph graph_;  // of the gradients, as planned
  StateMemory states_;
  std::unique_ptr<PlannedRun> gradients_, update_;
  std::int64_t passes_ = 0, updates_ = 0;
  std::size_t recomputed_ = 0;
  LossScale scale_;
  bool was_overflow_ = false;
};

}  // namespace maru
