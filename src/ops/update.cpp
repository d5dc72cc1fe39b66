#include "ops/update.h"

#include <cmath>

#include "ops/reference.h"

namespace maru {

std::string_view to_string(Update::Solver solver) noexcept {
  switch (solver) {
    case Update::Solver::sgd:
      return "sgd";
    case Update::Solver::nesterov:
      return "nesterov";
    case Update::Solver::adagrad:
      return "adagrad";
    case Update::Solver::rmsprop:
      return "rmsprop";
    case Update::Solver::adadelta:
      return "adadelta";
    case Update::Solver::adam:
      return "adam";
  }
  return "?";
}

void Update::step(double& w, double& h, double& k, double gradient,
                  std::span<const double, kControls> control) const {
  const double rate = control[kRate] * rate_mult, m = momentum;
  const double sign = w > 0 ? 1 : w < 0 ? -1 : 0;
  const double g = gradient + decay_mult * (control[kL2] * w + control[kL1] * sign);
  switch (solver) {
    case Solver::sgd:
      h = m * h + rate * g;
      w -= h;
      return;
    case Solver::nesterov: {
      const double before = h;
      h = m * h + rate * g;
      w -= (1 + m) * h - m * before;
      return;
    }
    case Solver::adagrad:
      h += g * g;
      w -= rate * g / (std::sqrt(h) + delta);
      return;
    case Solver::rmsprop:
      h = rms_decay * h + (1 - rms_decay) * g * g;
      w -= rate * g / (std::sqrt(h) + delta);
      return;
    case Solver::adadelta: {
      h = m * h + (1 - m) * g * g;
      const double u = g * std::sqrt((k + delta) / (h + delta));
      k = m * k + (1 - m) * u * u;
      w -= rate * u;
      return;
    }
    case Solver::adam: {
      const double t = control[kTime];
      h = m * h + (1 - m) * g;
      k = momentum2 * k + (1 - momentum2) * g * g;
      w -= rate * std::sqrt(1 - std::pow(momentum2, t)) / (1 - std::pow(m, t)) * h /
           (std::sqrt(k) + delta);
      return;
    }
  }
}

std::optional<double> Update::gradient_factor(double norm, std::span<const double, kControls> control) {
  if (!std::isfinite(norm)) return std::nullopt;
  const double clip = control[kClip];
  return control[kFactor] * (clip > 0 && norm > clip ? clip / norm : 1);
}

std::vector<TensorDesc> Update::infer(Descs src) const {
  const std::size_t count = states() + 4;
  require_operands(src, count, count);
  for (std::size_t i = 1; i + 2 < count; ++i) require_shape(src, i, src[0].shape, "state or gradient");
  if (src[count - 2].count() != 1)
    throw Error("update", "a norm of one element", src[count - 2].shape.str());
  require_shape(src, count - 1, {kControls}, "controls");
  return std::vector<TensorDesc>(states() + (clears ? 2 : 1), src[0].with(Layout::plain()));
}

Cost Update::cost(Descs src, Descs dst) const {
  return {10 * static_cast<double>(src[0].count()), traffic(src, dst)};
}

void Update::reference(Views src, Views dst) const {
  for_real(src[0].desc.dtype, [&](auto zero) {
    using T = decltype(zero);
    const bool has_second = states() == 2;
    const T* gradient = src[states() + 1].as<const T>();
    std::array<double, kControls> control{};
    for (std::size_t i = 0; i < control.size(); ++i)
      control[i] = static_cast<double>(src.back().as<const T>()[i]);
    const auto norm = static_cast<double>(src[states() + 2].as<const T>()[0]);
    const std::optional<double> factor = gradient_factor(norm, control);
    for (std::int64_t i = 0; i < src[0].desc.count(); ++i) {
      auto w = static_cast<double>(src[0].as<const T>()[i]);
      auto h = static_cast<double>(src[1].as<const T>()[i]);
      auto k = has_second ? static_cast<double>(src[2].as<const T>()[i]) : 0.0;
      if (factor) step(w, h, k, static_cast<double>(gradient[i]) * *factor, control);
      dst[0].as<T>()[i] = static_cast<T>(w);
      dst[1].as<T>()[i] = static_cast<T>(h);
      if (has_second) dst[2].as<T>()[i] = static_cast<T>(k);
      if (clears) dst.back().as<T>()[i] = 0;
    }
  });
}

Operator update_operator() {
  using Solver = Update::Solver;
  Operator op = operator_of<Update>();
  const auto fill = [](Views src) {
    for_real(src[0].desc.dtype, [&](auto zero) {
      using T = decltype(zero);
      T* control = src.back().as<T>();
      constexpr double kValues[] = {0.01, 5e-4, 1e-5, 0.5, 2, 3};
      for (std::size_t i = 0; i < Update::kControls; ++i) control[i] = static_cast<T>(kValues[i]);
      // States that are sums of squares.
      src[src.size() - 2].as<T>()[0] = 3;
      for (std::size_t s = 1; s + 3 < src.size(); ++s) {
        for (std::int64_t i = 0; i < src[s].desc.count(); ++i)
          src[s].as<T>()[i] = std::abs(src[s].as<T>()[i]);
      }
    });
  };
  for (const auto solver : {Solver::sgd, Solver::nesterov, Solver::adagrad, Solver::rmsprop,
                            Solver::adadelta, Solver::adam}) {
    const Update update{solver, 2, 0.5, 0.9};
    std::vector<TensorDesc> src(update.states() + 2, f32({16, 3, 3, 3}));
    src.push_back(f32({1}));
    src.push_back(f32({Update::kControls}));
    op.cases.push_back(make_case(std::string(to_string(solver)), update, std::move(src)));
    op.cases.back().fill = fill;
  }
  Case clearing = op.cases.front();
  clearing.name = "sgd that clears";
  Update clears = *clearing.op.as<Update>();
  clears.clears = true;
  clearing.op = clears;
  op.cases.push_back(std::move(clearing));
  return op;
}

}  // namespace maru
