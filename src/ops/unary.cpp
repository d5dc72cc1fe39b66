#include "ops/unary.h"

#include <algorithm>
#include <cmath>

#include "base/error.h"
#include "ops/reference.h"
#include "ops/unary_grad.h"

namespace maru {

std::string_view to_string(Unary::Kind kind) noexcept {
  switch (kind) {
    case Unary::Kind::relu:
      return "relu";
    case Unary::Kind::elu:
      return "elu";
    case Unary::Kind::sigmoid:
      return "sigmoid";
    case Unary::Kind::tanh:
      return "tanh";
    case Unary::Kind::power:
      return "power";
    case Unary::Kind::abs:
      return "abs";
    case Unary::Kind::exp:
      return "exp";
    case Unary::Kind::log:
      return "log";
    case Unary::Kind::bnll:
      return "bnll";
  }
  return "?";
}

std::string print_field(const Unary& unary) {
  Unary rest = unary;
  rest.kind = Unary().kind;
  const std::string fields = print_fields(rest);
  return fields.empty() ? std::string(to_string(unary.kind))
                        : fmt::format("{}({})", to_string(unary.kind), fields);
}

void parse_field(std::string_view text, Unary& unary) {
  const std::size_t open = std::min(text.find('('), text.size());
  const std::string_view kind = text.substr(0, open), rest = text.substr(open);
  unary = rest.empty() ? Unary{} : parse_fields<Unary>(between(rest, "(", ')'));
  parse_field(kind, unary.kind);
}

std::vector<TensorDesc> Unary::infer(Descs src) const {
  require_operands(src, 1, 1);
  return {src[0]};
}

Cost Unary::cost(Descs src, Descs) const {
  return {static_cast<double>(src[0].count()), 2.0 * static_cast<double>(src[0].bytes())};
}

double Unary::apply(double x) const {
  switch (kind) {
    case Kind::relu:
      return x > 0 ? x : alpha * x;
    case Kind::elu:
      return x > 0 ? x : alpha * std::expm1(x);
    case Kind::sigmoid:
      return 1 / (1 + std::exp(-x));
    case Kind::tanh:
      return std::tanh(x);
    case Kind::power:
      return std::pow(shift + scale * x, alpha);
    case Kind::abs:
      return std::fabs(x);
    case Kind::exp:
      return std::exp((shift + scale * x) * (alpha == 0 ? 1 : std::log(alpha)));
    case Kind::log:
      return std::log(shift + scale * x) / (alpha == 0 ? 1 : std::log(alpha));
    case Kind::bnll:
      return x > 0 ? x + std::log1p(std::exp(-x)) : std::log1p(std::exp(x));
  }
  return x;
}

void Unary::reference(Views src, Views dst) const {
  for_real(src[0].desc.dtype, [&](auto zero) {
    using T = decltype(zero);
    const T* from = src[0].as<const T>();
    T* to = dst[0].as<T>();
    for (std::int64_t i = 0; i < src[0].desc.count(); ++i) to[i] = static_cast<T>(apply(from[i]));
  });
}

Operator unary_operator() {
  using Kind = Unary::Kind;
  const auto plain = [](std::string_view type, auto parse) {
    return Spelling{"caffe", type, "", parse};
  };
  Operator op = operator_of<Unary>();
  op.gradient = unary_gradient;
  op.spellings = {
      {"caffe", "ReLU", "relu_param",
       [](const AttrReader& reader, Arity) -> Op {
         return Unary{Kind::relu, reader.number("negative_slope", 0)};
       }},
      {"caffe", "ELU", "elu_param",
       [](const AttrReader& reader, Arity) -> Op {
         return Unary{Kind::elu, reader.number("alpha", 1)};
       }},
      plain("Sigmoid", [](const AttrReader&, Arity) -> Op { return Unary{Kind::sigmoid}; }),
      plain("TanH", [](const AttrReader&, Arity) -> Op { return Unary{Kind::tanh}; }),
      plain("AbsVal", [](const AttrReader&, Arity) -> Op { return Unary{Kind::abs}; }),
      plain("BNLL", [](const AttrReader&, Arity) -> Op { return Unary{Kind::bnll}; }),
      {"caffe", "Power", "power_param",
       [](const AttrReader& reader, Arity) -> Op {
         return Unary{Kind::power, reader.number("power", 1), reader.number("scale", 1),
                      reader.number("shift", 0)};
       }},
      {"caffe", "Exp", "exp_param",
       [](const AttrReader& reader, Arity) -> Op {
         const double base = reader.number("base", -1);
         return Unary{Kind::exp, base > 0 ? base : 0, reader.number("scale", 1),
                      reader.number("shift", 0)};
       }},
      {"caffe", "Log", "log_param",
       [](const AttrReader& reader, Arity) -> Op {
         const double base = reader.number("base", -1);
         return Unary{Kind::log, base > 0 ? base : 0, reader.number("scale", 1),
                      reader.number("shift", 0)};
       }},
  };
  const Shape shape{2, 19, 5, 7};
  op.cases = {
      {"relu", Unary{}, {f32(shape)}},
      {"leaky", Unary{Kind::relu, 0.1}, {f32(shape)}},
      {"elu", Unary{Kind::elu, 0.7}, {f32(shape)}},
      {"sigmoid", Unary{Kind::sigmoid}, {f32(shape)}, 1, -6, 6},
      {"tanh", Unary{Kind::tanh}, {f32(shape)}, 1, -4, 4},
      {"square", Unary{Kind::power, 2, 0.5, 0.25}, {f32(shape)}},
      {"root", Unary{Kind::power, 0.5, 0.5, 1}, {f32(shape)}},
      {"linear", Unary{Kind::power, 1, 3, -2}, {f32(shape)}},
      {"abs", Unary{Kind::abs}, {f32(shape)}},
      {"exp", Unary{Kind::exp, 2, 0.5, 1}, {f32(shape)}},
      {"log", Unary{Kind::log, 0, 1, 2}, {f32(shape)}},
      {"bnll", Unary{Kind::bnll}, {f32(shape)}, 1, -30, 30},
      {"vector", Unary{}, {f32({3})}},
  };
  return op;
}

}  // namespace maru
