// ConvGradData and ConvGradWeight: gradients of a convolution by its input and by its weights.
#pragma once

#include "ops/window.h"

namespace maru {

struct Conv;

// src: gradient of the convolution's result N x O x OH x OW, weight O x C/group x KH x KW.
// dst: gradient of its input N x C x H x W: each pixel's weighted share of all that it went into.
struct ConvGradData {
  static constexpr std::string_view kName = "conv_grad_data";

  Window window;
  std::int64_t group = 1;
  std::array<std::int64_t, 2> extents{1, 1};  // H, W

  template <class Self, class V>
  static void fields(Self& self, V&& visit) {
    Window::fields(self.window, visit);
    visit("group", self.group);
    visit("extents", self.extents);
  }

  std::vector<TensorDesc> infer(Descs src) const;
  Cost cost(Descs src, Descs dst) const;
  void reference(Views src, Views dst) const;

  bool operator==(const ConvGradData&) const = default;
};

// src: the convolution's input N x C x H x W, gradient of its result N x O x OH x OW.
// dst: gradient of its weights O x C/group x KH x KW, summed over the images.
struct ConvGradWeight {
  static constexpr std::string_view kName = "conv_grad_weight";

  Window window;
  std::int64_t group = 1;
  bool widen = false;  // the result is f32 also where the operands are f16

  template <class Self, class V>
  static void fields(Self& self, V&& visit) {
    Window::fields(self.window, visit);
    visit("group", self.group);
    visit("widen", self.widen);
  }

  std::vector<TensorDesc> infer(Descs src) const;
  Cost cost(Descs src, Descs dst) const;
  void reference(Views src, Views dst) const;

  bool operator==(const ConvGradWeight&) const = default;
};

Gradients conv_gradient(GradientCall& call);
Operator conv_grad_data_operator();
Operator conv_grad_weight_operator();

}  // namespace maru
