// Concat: tensors one after the other along an axis.
#pragma once

#include "ops/operator.h"

namespace maru {

// src: one or more, equal on every other axis. dst: the same with the sum of their extents on `axis`.
// Any element type. Caffe: concat_param {axis}, before that concat_dim.
struct Concat {
  static constexpr std::string_view kName = "concat";

  std::int64_t axis = 1;  // negative from the back

  template <class Self, class V>
  static void fields(Self& self, V&& visit) {
    visit("axis", self.axis);
  }

  std::vector<TensorDesc> infer(Descs src) const;
  Cost cost(Descs src, Descs dst) const;
  void reference(Views src, Views dst) const;

  bool operator==(const Concat&) const = default;
};

Operator concat_operator();

}  // namespace maru
