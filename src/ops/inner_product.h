// InnerProduct: a matrix times each row of the input: a fully connected layer.
#pragma once

#include <optional>

#include "ops/unary.h"

namespace maru {

// src: data of any rank, its axes from `axis` on taken as one of K elements; weight outputs x K (or
//      K x outputs when `transpose`); bias outputs (when `bias`).
// dst: the axes before `axis`, then outputs. Caffe: inner_product_param.
struct InnerProduct {
  static constexpr std::string_view kName = "inner_product";

  std::int64_t outputs = 0;
  std::int64_t axis = 1;  // negative from the back
  bool bias = true;
  bool transpose = false;
  std::optional<Unary> activation = std::nullopt;  // applied to the result

  template <class Self, class V>
  static void fields(Self& self, V&& visit) {
    visit("outputs", self.outputs);
    visit("axis", self.axis);
    visit("bias", self.bias);
    visit("transpose", self.transpose);
    visit("activation", self.activation);
  }

  std::vector<Param> params(Descs src) const;
  std::vector<TensorDesc> infer(Descs src) const;
  Cost cost(Descs src, Descs dst) const;
  void reference(Views src, Views dst) const;

  bool operator==(const InnerProduct&) const = default;
};

Operator inner_product_operator();

}  // namespace maru
