// Identity: a layer that changes nothing when a network is used: Dropout, Split, a bottom that takes no
// gradient. It stays in the graph as long as no rewrite drops it, and says in print what it was.
#pragma once

#include "ops/operator.h"

namespace maru {

// src: any tensor of any element type. dst: `outputs` times the same. Caffe: Dropout, which scales
// while training, and Split, which Caffe inserts itself.
struct Identity {
  static constexpr std::string_view kName = "identity";
  enum class Reason : std::uint8_t {
    dropout,
    split,
    stop,  // gradients end here (Caffe: propagate_down: false)
  };

  Reason reason = Reason::dropout;
  std::int64_t outputs = 1;
  double ratio = 0.5;  // of dropout: for training (Caffe: dropout_ratio)

  template <class Self, class V>
  static void fields(Self& self, V&& visit) {
    visit("reason", self.reason);
    visit("outputs", self.outputs);
    visit("ratio", self.ratio);
  }

  std::vector<TensorDesc> infer(Descs src) const;
  Cost cost(Descs src, Descs dst) const;
  void reference(Views src, Views dst) const;

  bool operator==(const Identity&) const = default;
};

std::string_view to_string(Identity::Reason reason) noexcept;
Operator identity_operator();

}  // namespace maru
