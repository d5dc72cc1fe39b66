// RunningStatistics: the moving averages of means and variances that batch normalisation records in
// training, for when the network is used.
#pragma once

#include "ops/operator.h"

namespace maru {

// src: sums of means C and of variances C, factor 1, as ops/batch_norm.h has them; mean C and variance
//      C of a batch, of `count` elements a channel.
// dst: both sums and the factor after it; each may be the bytes of what it was.
//   sum of means = f sum of means + mean
//   sum of variances = f sum of variances + variance count / (count - 1)
//   factor = f factor + 1
// (Caffe: BatchNormLayer::Forward_cpu. Of one element a channel the variance is taken as it is.)
struct RunningStatistics {
  static constexpr std::string_view kName = "running_statistics";

  double fraction = 0.999;  // f (Caffe: moving_average_fraction)
  std::int64_t count = 1;

  template <class Self, class V>
  static void fields(Self& self, V&& visit) {
    visit("fraction", self.fraction);
    visit("count", self.count);
  }

  // That makes the variance of a sample an estimate of that of all (Bessel).
  double correction() const {
    return count > 1 ? static_cast<double>(count) / static_cast<double>(count - 1) : 1;
  }

  std::vector<TensorDesc> infer(Descs src) const;
  Cost cost(Descs src, Descs dst) const;
  void reference(Views src, Views dst) const;
  bool keeps_f32(std::size_t) const { return true; }

  bool operator==(const RunningStatistics&) const = default;
};

Operator running_statistics_operator();

}  // namespace maru
