// The parameters of update: one step of a solver on a parameter. Plain structs, for both sides.
#pragma once

#include <cstdint>

namespace maru::cuda {

// See ops/update.h. What is not of floats' precision there, 1 - m^t near t = 0, is by logarithms here.
struct UpdateTerms {
  enum class Solver : std::int32_t { sgd, nesterov, adagrad, rmsprop, adadelta, adam };
  Solver solver;
  float rate_mult, decay_mult;
  float momentum, rest;    // m, 1 - m
  float momentum2, rest2;  // m2, 1 - m2
  float log_momentum, log_momentum2;
  float delta;
  float rms_decay, rms_rest;  // d, 1 - d
};

// Where the controls stand.
struct UpdateControls {
  float rate, l2, l1, factor, clip, time;
};

// A thread for each vector of elements. Results may be the bytes of what they were.
struct UpdateParams {
  const float *w, *h, *k;  // k null: the solver has none
  const float* gradient;
  const float* norm;
  const UpdateControls* controls;
  float *new_w, *new_h, *new_k;
  float* cleared;  // null: the gradient stays
  std::uint32_t count;
  bool is_aligned;
  UpdateTerms terms;
};

}  // namespace maru::cuda
