// Reshape and Flatten: the same elements in the same order under another shape.
#pragma once

#include "ops/operator.h"

namespace maru {

// src: any tensor of any element type. dst: the axes [axis, axis + num_axes) of src replaced by `dims`,
// in which 0 copies the extent of src at the place where it stands, and one -1 is what makes the number
// of elements equal. Caffe: reshape_param {shape {dim} axis num_axes}.
struct Reshape {
  static constexpr std::string_view kName = "reshape";

  std::vector<std::int64_t> dims = {};
  std::int64_t axis = 0;       // negative from the back, -1 being behind the last
  std::int64_t num_axes = -1;  // -1: all that follow

  template <class Self, class V>
  static void fields(Self& self, V&& visit) {
    visit("dims", self.dims);
    visit("axis", self.axis);
    visit("num_axes", self.num_axes);
  }

  std::vector<TensorDesc> infer(Descs src) const;
  Cost cost(Descs src, Descs dst) const;
  void reference(Views src, Views dst) const;

  bool operator==(const Reshape&) const = default;
};

// src: any tensor of any element type. dst: the axes from `axis` to `end_axis`, inclusive, made one;
// where end_axis is axis - 1, a new axis of 1 in front of `axis`. Caffe: flatten_param.
struct Flatten {
  static constexpr std::string_view kName = "flatten";

  std::int64_t axis = 1;  // negative from the back, as is end_axis
  std::int64_t end_axis = -1;

  template <class Self, class V>
  static void fields(Self& self, V&& visit) {
    visit("axis", self.axis);
    visit("end_axis", self.end_axis);
  }

  std::vector<TensorDesc> infer(Descs src) const;
  Cost cost(Descs src, Descs dst) const;
  void reference(Views src, Views dst) const;

  bool operator==(const Flatten&) const = default;
};

Operator reshape_operator();
Operator flatten_operator();

}  // namespace maru
