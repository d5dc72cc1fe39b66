// Update: one step of a solver on one parameter: what training ends with.
#pragma once

#include <optional>

#include "ops/operator.h"

namespace maru {

// The solvers of Caffe, by their formulas (Caffe: src/caffe/solvers); g the regularised gradient, r the
// rate, t the number of this update from 1 on:
//   sgd       h = m h + r g;                                   w -= h
//   nesterov  h' = m h + r g;                                  w -= (1 + m) h' - m h
//   adagrad   h += g^2;                                        w -= r g / (sqrt(h) + delta)
//   rmsprop   h = d h + (1 - d) g^2;                           w -= r g / (sqrt(h) + delta)
//   adadelta  h = m h + (1 - m) g^2; u = g sqrt((k + delta) / (h + delta));
//             k = m k + (1 - m) u^2;                           w -= r u
//   adam      h = m h + (1 - m) g; k = m2 k + (1 - m2) g^2;
//             w -= r sqrt(1 - m2^t) / (1 - m^t) h / (sqrt(k) + delta)
// src: parameter w; state h; state k (adadelta, adam); gradient; norm of all gradients of the network,
//      one element: where it is not finite nothing changes; controls, six elements: rate, L2 decay,
//      L1 decay, factor of the gradient (1 / iter_size), what the norm is clipped to before that
//      (0: to nothing), t. The parameter's own lr_mult and decay_mult are attributes.
// dst: w, h and k after the step, and with `clears` the gradient, all zero, to be added to; each may be
//      the bytes of what it was.
struct Update {
  static constexpr std::string_view kName = "update";
  enum class Solver : std::uint8_t { sgd, nesterov, adagrad, rmsprop, adadelta, adam };
  // Where the controls stand, and how many they are.
  static constexpr std::size_t kRate = 0, kL2 = 1, kL1 = 2, kFactor = 3, kClip = 4, kTime = 5,
                               kControls = 6;

  Solver solver = Solver::sgd;
  double rate_mult = 1, decay_mult = 1;  // Caffe: lr_mult, decay_mult
  double momentum = 0;                   // m
  double momentum2 = 0.999;              // m2
  double delta = 1e-8;
  double rms_decay = 0.99;  // d
  bool clears = false;

  template <class Self, class V>
  static void fields(Self& self, V&& visit) {
    visit("solver", self.solver);
    visit("rate_mult", self.rate_mult);
    visit("decay_mult", self.decay_mult);
    visit("momentum", self.momentum);
    visit("momentum2", self.momentum2);
    visit("delta", self.delta);
    visit("rms_decay", self.rms_decay);
    visit("clears", self.clears);
  }

  std::size_t states() const { return solver == Solver::adadelta || solver == Solver::adam ? 2 : 1; }

  // One element: w, h and k become what they are after the step. `gradient` is scaled already.
  void step(double& w, double& h, double& k, double gradient,
            std::span<const double, kControls> control) const;
  // What gradients are multiplied by; nothing where the step must not be taken.
  static std::optional<double> gradient_factor(double norm, std::span<const double, kControls> control);

  std::vector<TensorDesc> infer(Descs src) const;
  Cost cost(Descs src, Descs dst) const;
  void reference(Views src, Views dst) const;
  bool keeps_f32(std::size_t) const { return true; }

  bool operator==(const Update&) const = default;
};

std::string_view to_string(Update::Solver solver) noexcept;
Operator update_operator();

}  // namespace maru
