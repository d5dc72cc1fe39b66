#include "ops/unary_grad.h"

#include <cmath>

#include "ops/reference.h"

namespace maru {

bool UnaryGrad::takes_result() const {
  using Kind = Unary::Kind;
  switch (unary.kind) {
    case Kind::relu:
    case Kind::elu:
      return unary.alpha >= 0;  // else the sign of the result does not tell that of the operand
    case Kind::sigmoid:
    case Kind::tanh:
    case Kind::exp:
      return true;
    case Kind::power:
    case Kind::abs:
    case Kind::log:
    case Kind::bnll:
      return false;
  }
  return false;
}

double UnaryGrad::derivative(double at) const {
  using Kind = Unary::Kind;
  const double base = unary.alpha == 0 ? 1 : std::log(unary.alpha);  // of exp and log
  switch (unary.kind) {
    case Kind::relu:
      return at > 0 ? 1 : unary.alpha;
    case Kind::elu:
      if (at > 0) return 1;
      return takes_result() ? at + unary.alpha : unary.alpha * std::exp(at);
    case Kind::sigmoid:
      return at * (1 - at);
    case Kind::tanh:
      return 1 - at * at;
    case Kind::exp:
      return at * unary.scale * base;
    case Kind::power:
      if (unary.alpha == 0 || unary.scale == 0) return 0;
      return unary.alpha * unary.scale * std::pow(unary.shift + unary.scale * at, unary.alpha - 1);
    case Kind::abs:
      return at > 0 ? 1 : at < 0 ? -1 : 0;
    case Kind::log:
      return unary.scale / ((unary.shift + unary.scale * at) * base);
    case Kind::bnll:
      return 1 / (1 + std::exp(-at));
  }
  return 0;
}

std::vector<TensorDesc> UnaryGrad::infer(Descs src) const {
  require_operands(src, 2, 2);
  require_shape(src, 1, src[0].shape, "operand or result");
  return {src[0].with(Layout::plain())};
}

Cost UnaryGrad::cost(Descs src, Descs dst) const {
  return {2 * static_cast<double>(dst[0].count()), traffic(src, dst)};
}

void UnaryGrad::reference(Views src, Views dst) const {
  for_real(src[0].desc.dtype, [&](auto zero) {
    using T = decltype(zero);
    for (std::int64_t i = 0; i < dst[0].desc.count(); ++i) {
      dst[0].as<T>()[i] = static_cast<T>(static_cast<double>(src[0].as<const T>()[i]) *
                                         derivative(static_cast<double>(src[1].as<const T>()[i])));
    }
  });
}

Gradients unary_gradient(GradientCall& call) {
  const UnaryGrad grad{*call.node.op.as<Unary>()};
  return {call.add("gradient", grad,
                   {*call.dst[0], grad.takes_result() ? call.node.dst[0] : call.node.src[0]})};
}

ValueId before_activation(GradientCall& call, const std::optional<Unary>& activation) {
  if (!activation) return *call.dst[0];
  const UnaryGrad grad{*activation};
  if (!grad.takes_result())
    throw Error(call.node.op.name(), "an activation whose result tells its derivative",
                print_field(*activation), "training the network before its layers are fused");
  return call.add("activation gradient", grad, {*call.dst[0], call.node.dst[0]});
}

Operator unary_grad_operator() {
  using Kind = Unary::Kind;
  Operator op = operator_of<UnaryGrad>();
  const auto add = [&](std::string name, Unary unary, double low = -1, double high = 1) {
    op.cases.push_back(make_case(std::move(name), UnaryGrad{unary},
                                 {f32({2, 19, 5, 7}), f32({2, 19, 5, 7})}, low, high));
  };
  add("relu", {});
  add("leaky", {Kind::relu, 0.1});
  add("falling", {Kind::relu, -0.5});
  add("elu", {Kind::elu, 0.7});
  add("sigmoid", {Kind::sigmoid});
  add("tanh", {Kind::tanh});
  add("square", {Kind::power, 2, 0.5, 0.25});
  add("linear", {Kind::power, 1, 3, -2});
  add("root", {Kind::power, 0.5, 0.5, 1});
  add("abs", {Kind::abs});
  add("exp", {Kind::exp, 2, 0.5, 1});
  add("log", {Kind::log, 0, 1, 2});
  add("bnll", {Kind::bnll}, -10, 10);
  return op;
}

}  // namespace maru
