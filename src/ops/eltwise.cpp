#include "ops/eltwise.h"

#include <algorithm>

#include "ops/reference.h"
#include "ops/unary_grad.h"

namespace maru {

std::string_view to_string(Eltwise::Kind kind) noexcept {
  switch (kind) {
    case Eltwise::Kind::sum:
      return "sum";
    case Eltwise::Kind::product:
      return "product";
    case Eltwise::Kind::maximum:
      return "maximum";
  }
  return "?";
}

std::vector<TensorDesc> Eltwise::infer(Descs src) const {
  require_operands(src, 2, SIZE_MAX);
  for (std::size_t i = 1; i < src.size(); ++i) {
    require_shape(src, i, src[0].shape, fmt::format("input {}", i));
  }
  if (!coefficients.empty() && (kind != Kind::sum || coefficients.size() != src.size())) {
    throw Error("eltwise", "coefficients for a sum only, one an input",
                fmt::format("{} for a {} of {}", coefficients.size(), to_string(kind), src.size()));
  }
  return {src[0].with(Layout::plain())};
}

Cost Eltwise::cost(Descs src, Descs dst) const {
  const double terms = static_cast<double>(src.size()) * (coefficients.empty() ? 1 : 2);
  return {terms * static_cast<double>(dst[0].count()), traffic(src, dst)};
}

void Eltwise::reference(Views src, Views dst) const {
  for_real(src[0].desc.dtype, [&](auto zero) {
    using T = decltype(zero);
    for (std::int64_t i = 0; i < dst[0].desc.count(); ++i) {
      const auto term = [&](std::size_t input) {
        const auto value = static_cast<double>(src[input].as<const T>()[i]);
        return coefficients.empty() ? value : coefficients[input] * value;
      };
      double result = term(0);
      for (std::size_t input = 1; input < src.size(); ++input) {
        const double value = term(input);
        if (kind == Kind::sum) result += value;
        if (kind == Kind::product) result *= value;
        if (kind == Kind::maximum) result = std::max(result, value);
      }
      if (activation) result = activation->apply(result);
      dst[0].as<T>()[i] = static_cast<T>(result);
    }
  });
}

static Gradients eltwise_gradient(GradientCall& call) {
  const Eltwise& eltwise = *call.node.op.as<Eltwise>();
  const ValueId gradient = before_activation(call, eltwise.activation);
  const std::size_t count = call.node.src.size();
  if (eltwise.kind == Eltwise::Kind::maximum)
    throw Error("eltwise", "a sum or a product", "a maximum, which has no gradient here");
  Gradients result(count);
  for (std::size_t i = 0; i < count; ++i) {
    if (!call.wanted[i]) continue;
    const std::string name = fmt::format("gradient of {}", i);
    if (eltwise.kind == Eltwise::Kind::sum) {
      const double factor = eltwise.coefficients.empty() ? 1 : eltwise.coefficients[i];
      result[i] =
          factor == 1 ? gradient : call.add(name, Unary{Unary::Kind::power, 1, factor}, {gradient});
      continue;
    }
    std::vector<ValueId> factors{gradient};
    for (std::size_t other = 0; other < count; ++other) {
      if (other != i) factors.push_back(call.node.src[other]);
    }
    result[i] = call.add(name, Eltwise{Eltwise::Kind::product}, std::move(factors));
  }
  return result;
}

Operator eltwise_operator() {
  using Kind = Eltwise::Kind;
  Operator op = operator_of<Eltwise>();
  op.gradient = eltwise_gradient;
  op.spellings = {{"caffe", "Eltwise", "eltwise_param", [](const AttrReader& reader, Arity) -> Op {
                     Eltwise eltwise;
                     eltwise.kind = enumerator(
                         reader, "operation", Kind::sum,
                         {{"SUM", Kind::sum}, {"PROD", Kind::product}, {"MAX", Kind::maximum}});
                     // Caffe leaves them unread for a maximum.
                     if (eltwise.kind != Kind::maximum) eltwise.coefficients = reader.numbers("coeff");
                     return eltwise;
                   }}};
  const auto add = [&](std::string name, Shape shape, std::size_t inputs, Eltwise eltwise) {
    op.cases.push_back(
        make_case(std::move(name), std::move(eltwise), std::vector<TensorDesc>(inputs, f32(shape))));
  };
  add("sum", {1, 32, 5, 7}, 2, {});
  add("sum of three", {2, 19, 3, 4}, 3, {});
  add("difference", {2, 16, 3, 4}, 2, {Kind::sum, {1, -1}});
  add("mixture", {2, 5, 1, 1}, 3, {Kind::sum, {0.5, -2, 0.25}});
  add("residual", {1, 64, 4, 4}, 2, {Kind::sum, {}, Unary{}});
  add("product", {2, 19, 3, 4}, 2, {Kind::product});
  add("product of three", {1, 16, 4, 4}, 3, {Kind::product});
  add("maximum", {2, 19, 3, 4}, 2, {Kind::maximum});
  add("maximum of four", {1, 16, 1, 1}, 4, {Kind::maximum});
  add("vectors", {3, 10}, 2, {});
  add("sum of eleven", {2, 19, 3, 4}, 11, {});
  add("sum of many of one element", {1}, 300, {});
  return op;
}

}  // namespace maru
