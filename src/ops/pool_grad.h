// PoolGrad: gradient of pooling by its input.
#pragma once

#include "ops/pool.h"

namespace maru {

// src: gradient of the pooling's result N x C x OH x OW, and for the maximum its input N x C x H x W.
// dst: gradient of the input. Of a maximum all of it goes to the first pixel of the window that has it
// (Caffe: PoolingLayer), of an average an equal share to each.
struct PoolGrad {
  static constexpr std::string_view kName = "pool_grad";

  Pool pool;
  std::array<std::int64_t, 2> extents{1, 1};  // H, W

  template <class Self, class V>
  static void fields(Self& self, V&& visit) {
    Pool::fields(self.pool, visit);
    visit("extents", self.extents);
  }

  std::vector<TensorDesc> infer(Descs src) const;
  Cost cost(Descs src, Descs dst) const;
  void reference(Views src, Views dst) const;

  bool operator==(const PoolGrad&) const = default;
};

Gradients pool_gradient(GradientCall& call);
Operator pool_grad_operator();

}  // namespace maru
