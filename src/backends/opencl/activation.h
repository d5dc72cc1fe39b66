// Activation: an ops/unary function as kernels take it: "-DACTIVATION=..." for the program, and three
// floats. kernels/common.cl has the other side. A value.
#pragma once

#include <optional>
#include <string>

#include "backends/opencl/handles.h"
#include "ops/unary.h"

namespace maru::opencl {

struct Activation {
  explicit Activation(const Unary& unary);
  // Of what another function computes. ReLU, leaky or not, and none at all have the same option, so
  // that one program serves nearly all networks.
  static Activation of(const std::optional<Unary>& unary);

  std::string option;  // "-DACTIVATION=ACTIVATE_relu"
  cl_float alpha = 0, scale = 1, shift = 0;
  bool keeps_zero = false;  // of padding, too
};

}  // namespace maru::opencl
