// From a network to the graphs that train it: one that computes losses and the gradients of all trained
// parameters, and one that updates these with a solver. Both are planned and run like any other; what
// they share are states, by name: parameters, their gradients, what the solver remembers.
#pragma once

#include <functional>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "graph/graph.h"
#include "ops/update.h"
#include "rewrite/batch_statistics.h"
#include "rewrite/gradient_buckets.h"

namespace maru {

// A parameter that is trained.
struct Parameter {
  std::string name;  // of its state; unique
  Shape shape;
  std::shared_ptr<const Constant> initial;
  double rate_mult = 1, decay_mult = 1;  // Caffe: lr_mult, decay_mult

  std::string gradient() const { return name + "/gradient"; }
  // What the solver remembers: h, k.
  std::string memory(std::size_t i) const { return fmt::format("{}/memory {}", name, i); }
};

// A value of the network that is to become small, times its weight.
struct WeightedLoss {
  std::string value;  // of one element
  double weight = 1;
};

struct TrainingOptions {
  std::vector<WeightedLoss> losses;
  // lr_mult and decay_mult of a constant of the network, by its name and its place among the parameters
  // of its layer. A rate of 0 freezes it: it stays a constant, and what lies before nothing but frozen
  // parameters has no gradient and need not be kept.
  std::function<std::pair<double, double>(std::string_view name)> rates = [](std::string_view) {
    return std::pair{1.0, 1.0};
  };
  std::uint64_t seed = 0;  // of what dropout drops; the lower 44 bits of it
  // Gradients are added to what their states hold (Caffe: iter_size above 1) instead of replacing it.
  bool accumulate = false;
  // Of several processes that train together, each with its share of a batch: gradients become their
  // means over all of them while the others are computed (GradientBuckets), unless they are added up:
  // then that is the update's. Dropout drops as in the whole batch, of which this has the part `rank`.
  int rank = 0, ranks = 1;
  std::int64_t bucket_bytes = GradientBuckets::kBytes;
  // All gradients are times a number, the new input "loss scale" of one element, so that those that are
  // small do not vanish in half precision (Micikevicius et al., Mixed Precision Training, 2018). Losses
  // are as they were. Whoever updates divides by it: Update::kFactor.
  bool scaled = false;
  // Results of the network are forgotten, and computed again on the way back (rewrite/recompute.h).
  bool recompute = false;
};

// What the graph of gradients is about.
struct Trained {
  std::vector<Parameter> parameters;  // in the order of the network
  std::vector<Statistic> statistics;  // what batch normalisation records
  std::size_t recomputed = 0;         // nodes that are computed twice
};

// The network with losses becomes the graph of gradients: outputs stay, constants that are trained
// become states, each with a state of its gradient. Dropout drops (a new input "step", one element, the
// number of the pass), and batch normalisation takes the batch's statistics and records them in states.
// Values are called as in the network; what is added is called after the nodes that it belongs to.
// Throws Error for a loss that is not there or has another shape, for an operator without a gradient,
// and when nothing is left to train.
Trained build_gradients(Graph& graph, const TrainingOptions& options);

// Reads the gradients and updates the parameters. Input: "controls" (ops/update.h). With `clears`,
// gradients are zero afterwards, for accumulating. Of several ranks the mean of what they have is
// taken. Output: "gradient norm", the root of the sum of the squares of all gradients before the
// update.
Graph build_update(const std::vector<Parameter>& parameters, const Update& solver, bool clears,
                   int ranks = 1);

// The network reads states instead of the constants that are called as them: a test net then runs on
// what is being trained. `state` gives the shape of a state, nothing where there is none of that name.
// Throws Error for a constant of another shape than its state.
void read_states(Graph& graph, const std::function<std::optional<Shape>(const std::string&)>& state);

}  // namespace maru
