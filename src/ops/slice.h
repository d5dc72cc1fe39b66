// Slice: a tensor cut along an axis; the inverse of Concat.
#pragma once

#include "ops/operator.h"

namespace maru {

// src: any tensor. dst: `outputs` tensors, which side by side on `axis` are src. Any element type.
// Caffe: slice_param {axis slice_point}, before that slice_dim.
struct Slice {
  static constexpr std::string_view kName = "slice";

  std::int64_t axis = 1;                  // negative from the back
  std::vector<std::int64_t> points = {};  // begins of all outputs but the first; empty: equal parts
  std::int64_t outputs = 1;               // points.size() + 1, unless those are equal parts

  template <class Self, class V>
  static void fields(Self& self, V&& visit) {
    visit("axis", self.axis);
    visit("points", self.points);
    visit("outputs", self.outputs);
  }

  // Where each output begins on the axis, in its elements, and as the last entry the extent of src.
  // Throws Error as infer() does.
  std::vector<std::int64_t> offsets(const Shape& src) const;

  std::vector<TensorDesc> infer(Descs src) const;
  Cost cost(Descs src, Descs dst) const;
  void reference(Views src, Views dst) const;

  bool operator==(const Slice&) const = default;
};

Operator slice_operator();

}  // namespace maru
