// BatchNorm: each channel less its mean, over its standard deviation, both as recorded in training.
#pragma once

#include "ops/operator.h"

namespace maru {

// src: data of any rank, channels on axis 1 (a vector is one channel); mean C, variance C, factor 1.
// dst: as data. y = (x - mean f) / sqrt(variance f + epsilon), f = 1 / factor, or 0 where the factor is
// 0: the sums that Caffe's moving average keeps (Caffe: batch_norm_param, BatchNormLayer).
struct BatchNorm {
  static constexpr std::string_view kName = "batch_norm";

  double epsilon = 1e-5;  // 0 or more (Caffe: eps)

  template <class Self, class V>
  static void fields(Self& self, V&& visit) {
    visit("epsilon", self.epsilon);
  }

  std::vector<Param> params(Descs src) const;
  std::vector<TensorDesc> infer(Descs src) const;
  Cost cost(Descs src, Descs dst) const;
  void reference(Views src, Views dst) const;

  bool operator==(const BatchNorm&) const = default;
};

Operator batch_norm_operator();

}  // namespace maru
