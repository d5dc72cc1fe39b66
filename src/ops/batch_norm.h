// BatchNorm: each channel less its mean, over its standard deviation, both as recorded in training.
// While a network is trained, BatchNormTraining takes its place (rewrite/training.h).
#pragma once

#include "ops/operator.h"

namespace maru {

// src: data of any rank, channels on axis 1 (a vector is one channel); mean C, variance C, factor 1.
// dst: as data. y = (x - mean f) / sqrt(variance f + epsilon), f = 1 / factor, or 0 where the factor is
// 0: the sums that Caffe's moving average keeps (Caffe: batch_norm_param, BatchNormLayer).
struct BatchNorm {
  static constexpr std::string_view kName = "batch_norm";
  // Whose mean and variance (Caffe: use_global_stats: not there, true, false).
  enum class Statistics : std::uint8_t {
    by_phase,  // those recorded where the network is used, those of the batch where it is trained
    recorded,  // in training, too
    batch,     // those of the batch, always
  };

  double epsilon = 1e-5;  // 0 or more (Caffe: eps)
  Statistics statistics = Statistics::by_phase;
  double fraction = 0.999;  // for RunningStatistics (Caffe: moving_average_fraction)

  template <class Self, class V>
  static void fields(Self& self, V&& visit) {
    visit("epsilon", self.epsilon);
    visit("statistics", self.statistics);
    visit("fraction", self.fraction);
  }

  // Whether the recorded statistics are what the operator computes with.
  bool takes_recorded() const { return statistics != Statistics::batch; }

  std::vector<Param> params(Descs src) const;
  std::vector<TensorDesc> infer(Descs src) const;
  Cost cost(Descs src, Descs dst) const;
  void reference(Views src, Views dst) const;
  bool keeps_f32(std::size_t operand) const { return operand >= 1; }  // variances go beyond a half

  bool operator==(const BatchNorm&) const = default;
};

std::string_view to_string(BatchNorm::Statistics statistics) noexcept;
Operator batch_norm_operator();

}  // namespace maru
