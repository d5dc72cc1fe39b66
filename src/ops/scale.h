// Scale: each element times a factor of its channel, plus a bias.
#pragma once

#include "ops/broadcast.h"
#include "ops/operator.h"

namespace maru {

// src: data of any rank; scale, equal to the axes of data from `axis` on, as many as it has, or a
// scalar;
//      bias of the shape of scale (when `bias`). The scale is either a parameter, of the shape that
//      `num_axes` says, or data: a second bottom, for which num_axes says nothing.
// dst: as data. Caffe: scale_param, ScaleLayer.
struct Scale {
  static constexpr std::string_view kName = "scale";

  std::int64_t axis = 1;      // negative from the back
  std::int64_t num_axes = 1;  // -1: all that follow; 0: a scalar
  bool bias = false;          // Caffe: bias_term

  template <class Self, class V>
  static void fields(Self& self, V&& visit) {
    visit("axis", self.axis);
    visit("num_axes", self.num_axes);
    visit("bias", self.bias);
  }

  // Which axes the scale covers: the middle ones. Throws Error where it does not fit.
  Extents covered(const Shape& data, const Shape& scale) const { return cover(data, scale, axis); }

  std::vector<Param> params(Descs src) const;
  std::vector<TensorDesc> infer(Descs src) const;
  Cost cost(Descs src, Descs dst) const;
  void reference(Views src, Views dst) const;

  bool operator==(const Scale&) const = default;
};

Operator scale_operator();

}  // namespace maru
