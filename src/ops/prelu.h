// PRelu: a leaky ReLU whose slope was learned, for each channel or for all.
#pragma once

#include "ops/operator.h"

namespace maru {

// src: data of 2 axes or more, channels on axis 1; slope C, or 1 when shared. dst: as data.
// y = max(x, 0) + slope min(x, 0). He et al. 2015 (Caffe: prelu_param).
struct PRelu {
  static constexpr std::string_view kName = "prelu";

  bool shared = false;  // Caffe: channel_shared

  template <class Self, class V>
  static void fields(Self& self, V&& visit) {
    visit("shared", self.shared);
  }

  std::vector<Param> params(Descs src) const;
  std::vector<TensorDesc> infer(Descs src) const;
  Cost cost(Descs src, Descs dst) const;
  void reference(Views src, Views dst) const;

  bool operator==(const PRelu&) const = default;
};

Operator prelu_operator();

}  // namespace maru
