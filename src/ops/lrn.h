// Lrn: local response normalisation, divides each element by a power of the squares around it.
#pragma once

#include "ops/operator.h"

namespace maru {

// src, dst: N x C x H x W.
//   across:  y = x (k + alpha / size * sum of x^2 over `size` channels around) ^ -beta
//   within:  y = x (1 + alpha / size^2 * sum of x^2 over size x size pixels around) ^ -beta
// What lies outside of the tensor counts as zero, and counts in size. Krizhevsky et al. 2012, 3.3, with
// alpha divided by the number of terms (Caffe: lrn_param, LRNLayer).
struct Lrn {
  static constexpr std::string_view kName = "lrn";
  enum class Region : std::uint8_t { across, within };

  std::int64_t size = 5;  // odd (Caffe: local_size)
  double alpha = 1;
  double beta = 0.75;
  double k = 1;  // not used within a channel
  Region region = Region::across;

  template <class Self, class V>
  static void fields(Self& self, V&& visit) {
    visit("size", self.size);
    visit("alpha", self.alpha);
    visit("beta", self.beta);
    visit("k", self.k);
    visit("region", self.region);
  }

  std::vector<TensorDesc> infer(Descs src) const;
  Cost cost(Descs src, Descs dst) const;
  void reference(Views src, Views dst) const;

  bool operator==(const Lrn&) const = default;
};

std::string_view to_string(Lrn::Region region) noexcept;
Operator lrn_operator();

}  // namespace maru
