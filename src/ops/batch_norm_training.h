// BatchNormTraining: each channel less its mean over the batch, over its standard deviation there; with
// the Scale and the ReLU behind it, where they are fused, so that the result is written once.
#pragma once

#include <optional>

#include "ops/reference.h"
#include "ops/unary.h"

namespace maru {

// src: data x of any rank, channels on axis 1 (a vector is one channel); with `affine`, scale C and
//      bias C, in the type of data or in f32.
// dst: y as data; mean C and variance C of the m elements of each channel, f32 also where data is f16.
//   z = (x - mean) / sqrt(variance + epsilon), variance = sum of (x - mean)^2 / m
//   y = activation(scale z + bias)
// (Ioffe, Szegedy 2015; Caffe: BatchNormLayer without global statistics, and ScaleLayer.)
struct BatchNormTraining {
  static constexpr std::string_view kName = "batch_norm_training";

  double epsilon = 1e-5;                           // 0 or more
  bool affine = false;                             // scale and bias are there
  std::optional<Unary> activation = std::nullopt;  // a ReLU of a slope of 0 or more

  template <class Self, class V>
  static void fields(Self& self, V&& visit) {
    visit("epsilon", self.epsilon);
    visit("affine", self.affine);
    visit("activation", self.activation);
  }

  // An activation that can be fused: its sign is that of its operand, so that the gradient can be
  // computed from x.
  static bool fits(const Unary& activation) {
    return activation.kind == Unary::Kind::relu && activation.alpha >= 0;
  }
  // Images, channels, pixels. Throws Error for a scalar.
  static Extents channels_of(const Shape& data);
  // Of statistics and of gradients of parameters.
  static DType statistics_type(DType data) { return data == DType::f16 ? DType::f32 : data; }
  bool keeps_f32(std::size_t operand) const { return operand >= 1; }
  // Throws Error for attributes out of range.
  void check() const;

  std::vector<TensorDesc> infer(Descs src) const;
  Cost cost(Descs src, Descs dst) const;
  void reference(Views src, Views dst) const;

  bool operator==(const BatchNormTraining&) const = default;
};

Operator batch_norm_training_operator();

}  // namespace maru
