// Lrn: local response normalisation, divides each element by a power of the squares around it.
#pragma once

#include <algorithm>
#include <array>

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

  // Calls f(index) for each element around the one at n, c, y, x of a tensor of this shape.
  template <class F>
  void each_around(const Shape& shape, std::array<std::int64_t, 4> at, F&& f) const {
    std::array<std::int64_t, 4> begin = at, end{at[0], at[1] + 1, at[2] + 1, at[3] + 1};
    const bool is_across = region == Region::across;
    for (std::size_t axis = is_across ? 1 : 2; axis < (is_across ? 2u : 4u); ++axis) {
      begin[axis] = std::max<std::int64_t>(at[axis] - size / 2, 0);
      end[axis] = std::min(at[axis] + size / 2 + 1, shape[axis]);
    }
    for (std::int64_t c = begin[1]; c < end[1]; ++c) {
      for (std::int64_t y = begin[2]; y < end[2]; ++y) {
        for (std::int64_t x = begin[3]; x < end[3]; ++x)
          f(((at[0] * shape[1] + c) * shape[2] + y) * shape[3] + x);
      }
    }
  }
  // What each square around counts.
  double weight() const {
    const auto side = static_cast<double>(size);
    return alpha / (region == Region::across ? side : side * side);
  }
  // What the squares are added to.
  double base() const { return region == Region::across ? k : 1.0; }

  std::vector<TensorDesc> infer(Descs src) const;
  Cost cost(Descs src, Descs dst) const;
  void reference(Views src, Views dst) const;

  bool operator==(const Lrn&) const = default;
};

std::string_view to_string(Lrn::Region region) noexcept;
Operator lrn_operator();

}  // namespace maru
