// InnerProductGradData and InnerProductGradWeight: gradients of a fully connected layer by its input
// and by its weights.
#pragma once

#include "ops/operator.h"

namespace maru {

// src: gradient of the layer's result (any rank, `outputs` on the last axis), weight outputs x K (or
//      K x outputs when `transpose`). dst: gradient of its input, of the shape `extents`.
struct InnerProductGradData {
  static constexpr std::string_view kName = "inner_product_grad_data";

  bool transpose = false;
  std::vector<std::int64_t> extents = {};

  template <class Self, class V>
  static void fields(Self& self, V&& visit) {
    visit("transpose", self.transpose);
    visit("extents", self.extents);
  }

  std::vector<TensorDesc> infer(Descs src) const;
  Cost cost(Descs src, Descs dst) const;
  void reference(Views src, Views dst) const;

  bool operator==(const InnerProductGradData&) const = default;
};

// src: the layer's input, its axes from `axis` on being one of K elements; gradient of its result.
// dst: gradient of its weights outputs x K, or K x outputs when `transpose`.
struct InnerProductGradWeight {
  static constexpr std::string_view kName = "inner_product_grad_weight";

  std::int64_t axis = 1;  // negative from the back
  bool transpose = false;
  bool widen = false;  // the result is f32 also where the operands are f16

  template <class Self, class V>
  static void fields(Self& self, V&& visit) {
    visit("axis", self.axis);
    visit("transpose", self.transpose);
    visit("widen", self.widen);
  }

  std::vector<TensorDesc> infer(Descs src) const;
  Cost cost(Descs src, Descs dst) const;
  void reference(Views src, Views dst) const;

  bool operator==(const InnerProductGradWeight&) const = default;
};

Gradients inner_product_gradient(GradientCall& call);
Operator inner_product_grad_data_operator();
Operator inner_product_grad_weight_operator();

}  // namespace maru
