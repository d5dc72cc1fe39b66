// Bias: each element plus the bias of its channel.
#pragma once

#include "ops/broadcast.h"
#include "ops/operator.h"

namespace maru {

// src: data of any rank; bias, equal to the axes of data from `axis` on, as many as it has, or a
// scalar.
//      It is either a parameter, of the shape that `num_axes` says, or data: a second bottom, for which
//      num_axes says nothing.
// dst: as data. Caffe: bias_param, BiasLayer.
struct Bias {
  static constexpr std::string_view kName = "bias";

  std::int64_t axis = 1;      // negative from the back
  std::int64_t num_axes = 1;  // -1: all that follow; 0: a scalar

  template <class Self, class V>
  static void fields(Self& self, V&& visit) {
    visit("axis", self.axis);
    visit("num_axes", self.num_axes);
  }

  // Which axes the bias covers: the middle ones. Throws Error where it does not fit.
  Extents covered(const Shape& data, const Shape& bias) const { return cover(data, bias, axis); }

  std::vector<Param> params(Descs src) const;
  std::vector<TensorDesc> infer(Descs src) const;
  Cost cost(Descs src, Descs dst) const;
  void reference(Views src, Views dst) const;

  bool operator==(const Bias&) const = default;
};

Operator bias_operator();

}  // namespace maru
