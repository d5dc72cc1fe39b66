// Conv: two-dimensional convolution (cross-correlation, as every framework has it), with groups,
// dilation and, after fusing, an activation.
#pragma once

#include <optional>

#include "ops/unary.h"
#include "ops/window.h"

namespace maru {

// src: data N x C x H x W, weight O x C/group x KH x KW, bias O (when `bias`).
// dst: N x O x OH x OW with OH = floor((H + 2 pad - reach) / stride) + 1.
struct Conv {
  static constexpr std::string_view kName = "conv";

  std::int64_t outputs = 0;
  Window window;
  std::int64_t group = 1;
  bool bias = true;
  std::optional<Unary> activation = std::nullopt;  // applied to the result

  template <class Self, class V>
  static void fields(Self& self, V&& visit) {
    visit("outputs", self.outputs);
    Window::fields(self.window, visit);
    visit("group", self.group);
    visit("bias", self.bias);
    visit("activation", self.activation);
  }

  std::vector<Param> params(Descs src) const;
  std::vector<TensorDesc> infer(Descs src) const;
  Cost cost(Descs src, Descs dst) const;
  void reference(Views src, Views dst) const;

  bool operator==(const Conv&) const = default;
};

Operator conv_operator();

}  // namespace maru
