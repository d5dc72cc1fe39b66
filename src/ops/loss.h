// Losses: how far a network's results are from what they should be; and their gradients. All in f32,
// whatever the network computes in.
#pragma once

#include <optional>

#include "ops/operator.h"

namespace maru {

// How the sum over all that counts becomes a mean (Caffe: LossParameter.NormalizationMode).
enum class LossNorm : std::uint8_t {
  full,        // over all outputs, ignored ones included
  valid,       // over those not ignored, at least 1
  batch_size,  // over the images
  none,
};
std::string_view to_string(LossNorm norm) noexcept;

// src: scores, classes on `axis`; labels, a whole number for each place of the scores without that
// axis. dst: the loss, one element: the mean of -log softmax(scores)[label]; and softmax(scores), from
// which the gradient follows. Caffe: SoftmaxWithLossLayer. A label that is no class is NaN.
struct SoftmaxLoss {
  static constexpr std::string_view kName = "softmax_loss";

  std::int64_t axis = 1;                              // negative from the back
  std::optional<std::int64_t> ignore = std::nullopt;  // Caffe: ignore_label
  LossNorm norm = LossNorm::valid;

  template <class Self, class V>
  static void fields(Self& self, V&& visit) {
    visit("axis", self.axis);
    visit("ignore", self.ignore);
    visit("norm", self.norm);
  }

  std::vector<TensorDesc> infer(Descs src) const;
  Cost cost(Descs src, Descs dst) const;
  void reference(Views src, Views dst) const;
  bool keeps_f32(std::size_t) const { return true; }

  bool operator==(const SoftmaxLoss&) const = default;
};

// src: softmax(scores), labels, gradient of the loss (one element). dst: gradient of the scores; NaN
// where the label is no class.
struct SoftmaxLossGrad {
  static constexpr std::string_view kName = "softmax_loss_grad";

  SoftmaxLoss loss;

  template <class Self, class V>
  static void fields(Self& self, V&& visit) {
    SoftmaxLoss::fields(self.loss, visit);
  }

  std::vector<TensorDesc> infer(Descs src) const;
  Cost cost(Descs src, Descs dst) const;
  void reference(Views src, Views dst) const;
  bool keeps_f32(std::size_t) const { return true; }

  bool operator==(const SoftmaxLossGrad&) const = default;
};

// A loss of each element of two equal tensors, summed, over the number of images. A family.
// src: what came and what should have come, the images on axis 0. dst: the loss, one element.
struct PairLoss {
  static constexpr std::string_view kName = "pair_loss";
  enum class Kind : std::uint8_t {
    euclidean,              // (a - b)^2 / 2 (Caffe: EuclideanLossLayer)
    sigmoid_cross_entropy,  // -b log s(a) - (1 - b) log(1 - s(a)), s the sigmoid (Caffe:
                            // SigmoidCrossEntropyLossLayer, batch_size)
  };

  Kind kind = Kind::euclidean;

  template <class Self, class V>
  static void fields(Self& self, V&& visit) {
    visit("kind", self.kind);
  }

  std::vector<TensorDesc> infer(Descs src) const;
  Cost cost(Descs src, Descs dst) const;
  void reference(Views src, Views dst) const;
  bool keeps_f32(std::size_t) const { return true; }

  bool operator==(const PairLoss&) const = default;
};
std::string_view to_string(PairLoss::Kind kind) noexcept;

// src: what came, what should have come, gradient of the loss (one element). dst: gradient of the
// first.
struct PairLossGrad {
  static constexpr std::string_view kName = "pair_loss_grad";

  PairLoss loss;

  template <class Self, class V>
  static void fields(Self& self, V&& visit) {
    PairLoss::fields(self.loss, visit);
  }

  std::vector<TensorDesc> infer(Descs src) const;
  Cost cost(Descs src, Descs dst) const;
  void reference(Views src, Views dst) const;
  bool keeps_f32(std::size_t) const { return true; }

  bool operator==(const PairLossGrad&) const = default;
};

// src: scores, classes on `axis`; labels as SoftmaxLoss has them. dst: the share of labels, not ignored
// ones, that have fewer than `top` classes with a score above or equal to theirs, beside themselves,
// one element (Caffe: AccuracyLayer).
struct Accuracy {
  static constexpr std::string_view kName = "accuracy";

  std::int64_t axis = 1;
  std::int64_t top = 1;  // Caffe: top_k
  std::optional<std::int64_t> ignore = std::nullopt;

  template <class Self, class V>
  static void fields(Self& self, V&& visit) {
    visit("axis", self.axis);
    visit("top", self.top);
    visit("ignore", self.ignore);
  }

  std::vector<TensorDesc> infer(Descs src) const;
  Cost cost(Descs src, Descs dst) const;
  void reference(Views src, Views dst) const;
  bool keeps_f32(std::size_t) const { return true; }

  bool operator==(const Accuracy&) const = default;
};

Operator softmax_loss_operator();
Operator softmax_loss_grad_operator();
Operator pair_loss_operator();
Operator pair_loss_grad_operator();
Operator accuracy_operator();

}  // namespace maru
