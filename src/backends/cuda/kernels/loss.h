// The parameters of softmax_loss_*, accuracy_*, loss_*: losses and what goes with them, all in f32.
// Plain structs, for both sides.
//
// A place is one label and the scores of its classes, `inner` apart. softmax_loss and accuracy leave a
// sum and a number of labels for each block, of which loss_end makes the mean.
#pragma once

#include <cstdint>

#include "backends/cuda/kernels/rows.h"

namespace maru::cuda {

struct LossPlaces {
  std::uint32_t places, classes, inner;
  double ignore;  // a label; NaN: none
};

// "_short": a thread a place; else a block.
struct LossParams {
  const float* scores;
  const float* labels;
  float* shares;          // softmax of the scores, of softmax_loss
  float* sums;            // per block: losses, or hits
  std::uint32_t* counts;  // per block: labels that are not ignored
  LossPlaces at;
  std::uint32_t top;  // of accuracy
};

// loss_end: one block.
struct LossEndParams {
  const float* sums;
  const std::uint32_t* counts;
  float* dst;
  std::uint32_t blocks;
  float divisor;  // 0: the labels that are not ignored
};

// loss_count: one block, the labels that are not ignored.
struct LossCountParams {
  const float* labels;
  std::uint32_t* count;
  LossPlaces at;
};

// softmax_loss_grad: a thread an element.
struct LossGradParams {
  const float* shares;
  const float* labels;
  const float* gradient;       // one
  const std::uint32_t* count;  // of labels that are not ignored; null: the divisor is known
  float* dst;                  // may be `shares`
  LossPlaces at;
  float divisor;
};

// pair_loss_grad: rows.
struct PairGradParams {
  const float* came;
  const float* wanted;
  const float* gradient;  // one
  float* dst;             // may be `came`
  std::int64_t came_stride, wanted_stride, dst_stride;
  Rows rows;
  float factor;
  bool is_sigmoid, is_aligned;
};

constexpr int kLossThreads = 256;

}  // namespace maru::cuda
