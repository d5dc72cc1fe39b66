#include "ops/lrn_grad.h"

#include <cmath>

#include "ops/reference.h"

namespace maru {

std::vector<TensorDesc> LrnGrad::infer(Descs src) const {
  require_operands(src, 2, 2);
  require_shape(src, 1, src[0].shape, "input");
  return lrn.infer(src.first(1));
}

Cost LrnGrad::cost(Descs src, Descs dst) const {
  const Descs one = src.first(1);
  return {2 * lrn.cost(one, dst).flops, traffic(src, dst)};
}

void LrnGrad::reference(Views src, Views dst) const {
  for_real(src[0].desc.dtype, [&](auto zero) {
    using T = decltype(zero);
    const Shape& shape = src[0].desc.shape;
    const T *gradient = src[0].as<const T>(), *from = src[1].as<const T>();
    const auto each = [&](auto&& f) {
      std::int64_t i = 0;
      for (std::int64_t n = 0; n < shape[0]; ++n) {
        for (std::int64_t c = 0; c < shape[1]; ++c) {
          for (std::int64_t y = 0; y < shape[2]; ++y) {
            for (std::int64_t x = 0; x < shape[3]; ++x, ++i) f(i, std::array{n, c, y, x});
          }
        }
      }
    };
    std::vector<double> bases(static_cast<std::size_t>(shape.count())), parts(bases.size());
    each([&](std::int64_t i, std::array<std::int64_t, 4> at) {
      double sum = 0;
      lrn.each_around(shape, at, [&](std::int64_t near) {
        sum += static_cast<double>(from[near]) * static_cast<double>(from[near]);
      });
      const auto index = static_cast<std::size_t>(i);
      bases[index] = lrn.base() + lrn.weight() * sum;
      parts[index] = static_cast<double>(gradient[i]) * static_cast<double>(from[i]) *
                     std::pow(bases[index], -lrn.beta - 1);
    });
    each([&](std::int64_t i, std::array<std::int64_t, 4> at) {
      double sum = 0;
      lrn.each_around(shape, at,
                      [&](std::int64_t near) { sum += parts[static_cast<std::size_t>(near)]; });
      dst[0].as<T>()[i] = static_cast<T>(
          static_cast<double>(gradient[i]) * std::pow(bases[static_cast<std::size_t>(i)], -lrn.beta) -
          2 * lrn.beta * lrn.weight() * static_cast<double>(from[i]) * sum);
    });
  });
}

Gradients lrn_gradient(GradientCall& call) {
  return {call.add("gradient", LrnGrad{*call.node.op.as<Lrn>()}, {*call.dst[0], call.node.src[0]})};
}

Operator lrn_grad_operator() {
  Operator op = operator_of<LrnGrad>();
  for (const Operator& forward = lrn_operator(); const Case& one : forward.cases)
    op.cases.push_back(
        make_case(one.name, LrnGrad{*one.op.as<Lrn>()}, {one.src[0], one.src[0]}, one.low, one.high));
  return op;
}

}  // namespace maru
