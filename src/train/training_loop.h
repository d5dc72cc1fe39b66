// TrainingLoop: trains as a solver file says: tests, passes, updates, snapshots, in Caffe's order
// (Solver::Solve and Step). Owns the trainer, the test nets and the loaders; decides nothing about how
// what happens is shown, which is an observer's. One thread at a time; photos are decoded by others.
#pragma once

#include <chrono>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "train/evaluator.h"
#include "train/snapshot.h"

namespace maru {

struct TrainingLoopOptions {
  CaffeSolver solver;
  std::vector<const Device*> devices;    // as make_plan() has them; they outlive the loop
  std::vector<DeviceSpeed> speeds = {};  // of them; none: they are assumed
  MemoryPolicy policy = MemoryPolicy::automatic;
  Precision precision = Precision::fp32;
  std::uint64_t seed = 0;                         // of a run that begins; one that goes on has its own
  std::string prefix;                             // of snapshots; empty: none are written
  std::optional<std::filesystem::path> snapshot;  // a .solverstate to go on from
  std::vector<std::filesystem::path> weights;     // to begin with
  FeedOptions train, test;
  std::optional<std::int64_t> batch;  // instead of what the training net's data layer says
  bool whole_tests = false;           // each photo once, whatever test_iter says
  bool recompute = false;             // TrainingOptions::recompute
  // The ranks that train together; the devices were opened with it. Each has `batch` photos a pass,
  // and its part of what is tested. Null: one alone.
  std::shared_ptr<Communicator> communicator = {};
  // When to stop with a snapshot.
  std::optional<std::chrono::steady_clock::time_point> deadline;
};

// What is known before the first pass.
struct TrainingFacts {
  struct Net {
    std::string data;                  // where the data set is
    std::int64_t photos = 0;           // of it
    std::int64_t batch = 0;            // of each rank
    std::vector<std::string> figures;  // outputs of one element
  };
  std::string network;
  Net train;
  std::vector<Net> tests;
  int ranks = 1;
  std::int64_t parameters = 0, trained = 0;  // elements
  std::size_t recomputed = 0;                // layers that are computed twice in a pass
  // Bytes on the device: parameters, gradients and memory of the solver; what passes and updates take
  // beside them, and of it their arenas; the same of test nets.
  std::size_t state_bytes = 0, training_bytes = 0, arena_bytes = 0, test_bytes = 0;
  TrainingPosition position;
  std::vector<std::string> notes;  // what importing passed over
};

struct TrainingFigures {
  std::int64_t iteration = 0;
  double epoch = 0, seconds = 0;  // seconds of this run
  double loss = 0, rate = 0;      // the loss: mean of the last average_loss
  double images_per_second = 0;   // of training alone, since the last figures; of all ranks
  double data_wait = 0;           // the share of that time in which it waited for photos or copied them
  double eta_seconds = 0;         // until max_iter
  double loss_scale = 0;          // in fp16; 0: there is none
  std::int64_t skipped = 0;       // updates without effect so far: gradients were not finite
  // Of the last pass, the mean over ranks; only when displayed.
  std::vector<std::pair<std::string, double>> outputs;
};

enum class Asked : std::uint8_t { nothing, snapshot, stop };

// Every rank has one; all are told of the same, but that of a snapshot rank 0's is alone. What one asks
// for, all do.
class TrainingObserver {
 public:
  virtual ~TrainingObserver() = default;
  virtual Asked asks() { return Asked::nothing; }  // between passes, and between batches of a test
  virtual void ran(const TrainingFigures& /*figures*/) {}        // after each update
  virtual void displayed(const TrainingFigures& /*figures*/) {}  // every `display` updates
  virtual void tested(std::size_t /*net*/, const TrainingFigures& /*at*/,
                      const Evaluator::Figures& /*means*/, double /*seconds*/) {}
  virtual void saved(const SnapshotFiles& /*files*/, double /*seconds*/) {}
  virtual void could_not_save(const Error& /*error*/) {}
  virtual void could_not_test(std::size_t /*net*/, const Error& /*error*/) {}
};

struct TrainingOutcome {
  enum class Ended : std::uint8_t { finished, asked, out_of_time, diverged };
  Ended ended = Ended::finished;
  // What is not finite, and where, as this rank has seen it; empty where all is well.
  std::string diverged;
  bool is_unsaved = false;                // the last snapshot that was wanted could not be written
  bool is_untested = false;               // a test could not be made
  std::optional<SnapshotFiles> snapshot;  // the last of this run
  TrainingFigures last;
};

class TrainingLoop {
 public:
  // Reads, plans and makes all memory, so that what cannot be trained is said before it begins. Throws
  // Error on all ranks where they have been told different things.
  explicit TrainingLoop(TrainingLoopOptions options);
  ~TrainingLoop();

  const TrainingFacts& facts() const { return facts_; }
  const Trainer& trainer() const { return *trainer_; }
  const TrainingPosition& position() const { return position_; }

  // Until max_iter, or somebody asks, or the time is over, or the loss is no number.
  TrainingOutcome run(TrainingObserver& observer);

 private:
  class Running;
  void load();
  TrainerOptions trainer_options() const;
  // The same on all ranks, or they would wait for each other.
  void require_same_work() const;
  void add_tests();
  void add_notes_of(const Evaluator& test);
  void check_files(const FedNetwork& network);
  void note_facts();

  TrainingLoopOptions options_;
  FedNetwork network_;
  std::unique_ptr<Trainer> trainer_;
  std::vector<std::unique_ptr<Evaluator>> tests_;
  BeginningWeights weights_;
  TrainingPosition position_;
  TrainingFacts facts_;
};

}  // namespace maru
