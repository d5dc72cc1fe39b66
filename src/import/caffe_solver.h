// Caffe's solver files (SolverParameter in protobuf text): what to train, how fast, and what to write
// on the way. Values; any thread may read.
#pragma once

#include <cstdint>
#include <filesystem>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "import/caffe.h"
#include "import/prototxt.h"
#include "ops/update.h"

namespace maru {

// One of the networks of a solver: a file, or a definition in the solver's own file.
struct CaffeNet {
  std::filesystem::path file;              // of the network; where it is inline, of the solver
  std::shared_ptr<const Message> inlined;  // null: it is in the file
  std::string phase;                       // "TRAIN" or "TEST"
  std::int64_t level = 0;                  // train_state, test_state
  std::vector<std::string> stages;
  std::int64_t iterations = 0;  // of a test net: batches a test (test_iter); 0: each photo once
};

struct CaffeSolver {
  enum class Policy : std::uint8_t { fixed, step, exp, inv, multistep, poly, sigmoid };
  enum class Regularization : std::uint8_t { l2, l1 };

  std::filesystem::path file;
  CaffeNet train;
  std::vector<CaffeNet> tests;

  Update::Solver type = Update::Solver::sgd;
  double momentum = 0;       // of adam: beta 1
  double momentum2 = 0.999;  // of adam: beta 2
  double delta = 1e-8;       // adagrad, rmsprop, adadelta, adam
  double rms_decay = 0.99;   // rmsprop
  double weight_decay = 0;
  Regularization regularization = Regularization::l2;
  double clip_gradients = 0;   // the norm of all gradients is at most this; 0: as it is
  std::int64_t iter_size = 1;  // passes whose gradients make one update

  double base_rate = 0;
  Policy policy = Policy::fixed;
  double gamma = 0, power = 0;
  std::int64_t step = 0;            // stepsize
  std::vector<std::int64_t> steps;  // stepvalue, ascending
  std::int64_t max_iter = 0;        // updates to make altogether

  std::int64_t test_interval = 0;   // updates between tests; 0: none
  bool test_initialization = true;  // a test before the first update
  bool test_compute_loss = false;
  std::int64_t display = 0;       // updates between lines of the log; 0: none
  std::int64_t average_loss = 1;  // displayed is the mean of the last so many losses

  std::int64_t snapshot = 0;    // updates between snapshots; 0: none on the way
  std::string snapshot_prefix;  // as written; without one, the solver's path without .prototxt
  bool snapshot_after_train = true;

  bool gpu = true;                    // solver_mode
  bool mode_given = false;            // whether the file says so
  std::int64_t device = 0;            // device_id
  std::optional<std::uint64_t> seed;  // random_seed
  std::vector<std::filesystem::path> weights;

  // Fields that are read and have no effect in maru, each with file:line and why.
  std::vector<std::string> notes;
};

// Paths of networks and weights are as Caffe has them, relative to the working directory; where there
// is no such file, relative to the solver's folder. Throws Error with "file:line" for a field that does
// not exist, a value that cannot be and anything that Caffe would refuse.
CaffeSolver read_caffe_solver(const std::filesystem::path& path);
// The same of its text; `path` is for errors and for finding files.
CaffeSolver parse_caffe_solver(std::string_view text, const std::filesystem::path& path);

// The network of the solver, with the phase, level and stages that it asks for.
Imported import_caffe(const CaffeNet& net, const std::optional<std::filesystem::path>& caffemodel,
                      CaffeOptions options);

// The rate of update `iteration`, counted from 0, before lr_mult (Caffe: SGDSolver::GetLearningRate),
// in Caffe's single precision: powers may differ from Caffe's in the last bit.
double learning_rate(const CaffeSolver& solver, std::int64_t iteration);
// How many steps the policies step and multistep have taken (Caffe: current_step); 0 for the others.
std::int64_t learning_step(const CaffeSolver& solver, std::int64_t iteration);

std::string_view to_string(CaffeSolver::Policy policy) noexcept;

}  // namespace maru
