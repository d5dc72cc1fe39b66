// Snapshots: training as two files, PREFIX_iter_N.caffemodel with the parameters and
// PREFIX_iter_N.solverstate with what the solver remembers, as Caffe writes and reads them. The second
// is written when the first is whole, and both whole or not at all: whoever finds a solver state has a
// snapshot, whenever the program was killed. One thread at a time.
#pragma once

#include <cstdint>
#include <deque>
#include <filesystem>
#include <optional>
#include <string>

#include "import/caffe_solver.h"
#include "import/solver_state.h"
#include "train/trainer.h"

namespace maru {

// Where training is, beside parameters and memory.
struct TrainingPosition {
  std::int64_t iteration = 0;  // updates made, skipped ones included
  std::int64_t updates = 0;    // that changed something; Adam counts these
  std::int64_t samples = 0;    // position in the stream of data
  std::uint64_t seed = 0;
  std::optional<LossScale> scale{};  // none: it was not trained in half precision
  std::deque<double> losses{};       // the last ones, over which the displayed loss is the mean
};

struct SnapshotFiles {
  std::filesystem::path weights, state;
};
SnapshotFiles snapshot_files(const std::string& prefix, std::int64_t iteration);
// The solver state of that prefix with the largest iteration whose weights are there too.
std::optional<std::filesystem::path> newest_snapshot(const std::string& prefix);

// Throws Error where that fails; what was there before is then untouched, but where it fails at the
// very end, when names are given: then of an older snapshot of this iteration the state may be gone.
SnapshotFiles write_snapshot(const std::string& prefix, const Imported& network, const Trainer& trainer,
                             const CaffeSolver& solver, const TrainingPosition& position);

// A solver state that was read.
struct Snapshot {
  std::filesystem::path file;
  std::filesystem::path weights;  // as the state names them, or of that name beside it
  SolverState state;
  TrainingPosition position;
};
// position.samples is -1 for a state that does not say where in the data it is: Caffe's. Throws Error
// for what is no solver state, and where its weights are not there.
Snapshot read_snapshot(const std::filesystem::path& file);

// Gives the solver of a trainer, whose parameters are the snapshot's already, its memory. `network` is
// what the trainer was made of. Throws Error, naming the parameter, for a state of another network or
// of another kind of solver; nothing has changed then.
void restore(const Snapshot& snapshot, const Imported& network, Trainer& trainer,
             const CaffeSolver& solver);

}  // namespace maru
