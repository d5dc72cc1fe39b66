// Batch normalisation in training: by the statistics of the batch, which it records for when the
// network is used.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "graph/graph.h"

namespace maru {

// What is recorded: a state that each pass changes, and no solver.
struct Statistic {
  std::string name;  // of its state: that of the constant in the network, "layer/mean"
  Shape shape;
  std::shared_ptr<const Constant> initial;
};

// Each BatchNorm whose statistics are not always those recorded becomes a BatchNormTraining, with the
// Scale and the ReLU that alone read it, and its constants become states that a RunningStatistics
// changes. Leaves dead nodes behind, until Graph::tidy(). Returns the states in the order of the
// network. Throws Error where two layers record in one place.
std::vector<Statistic> use_batch_statistics(Graph& graph);

}  // namespace maru
