// Sums over tensors as launches: one, or one that leaves sums of slices and one that adds these up. For
// the providers of Reduce and of losses.
#pragma once

#include "backends/cuda/kernels/reduce.h"
#include "backends/cuda/provider.h"

namespace maru::cuda {

struct Sums {
  std::vector<Stage> stages;
  std::size_t workspace_bytes = 0;
};

// Of operand 0, or of operands 0 and 1 where the term takes two, into result 0. What is summed and its
// factor are in `params`; addresses, slices and vectors are found here. A product of one operand with
// itself is read once.
Sums sum_columns(const Runtime& runtime, const ReduceColumnsParams& params, DType from, DType to);
Sums sum_runs(const Runtime& runtime, const ReduceRunsParams& params, DType from, DType to);

}  // namespace maru::cuda
