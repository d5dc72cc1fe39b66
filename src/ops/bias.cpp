#include "ops/bias.h"

#include "ops/reduce.h"

namespace maru {

std::vector<Param> Bias::params(Descs src) const {
  require_operands(src, 1, 2, 1);
  if (src.size() == 2) return {};
  return {{"bias", covered_shape(src[0].shape, axis, num_axes)}};
}

std::vector<TensorDesc> Bias::infer(Descs src) const {
  require_operands(src, 2, 2, 1);
  covered(src[0].shape, src[1].shape);
  return {src[0].with(Layout::plain())};
}

Cost Bias::cost(Descs src, Descs dst) const {
  return {static_cast<double>(dst[0].count()), traffic(src, dst)};
}

void Bias::reference(Views src, Views dst) const {
  for_real(src[0].desc.dtype, [&](auto zero) {
    using T = decltype(zero);
    const T* bias = src[1].as<const T>();
    map_middle(covered(src[0].desc.shape, src[1].desc.shape), src[0].as<const T>(), dst[0].as<T>(),
               [&](double x, std::int64_t m) { return x + static_cast<double>(bias[m]); });
  });
}

Operator bias_operator() {
  Operator op = operator_of<Bias>();
  op.gradient = [](GradientCall& call) -> Gradients {
    const auto axes = static_cast<std::int64_t>(call.src_desc(1).shape.rank());
    Gradients result{call.dst[0], std::nullopt};
    if (call.wanted[1])
      result[1] = call.add("bias gradient", Reduce{axes == 0 ? 0 : call.node.op.as<Bias>()->axis, axes},
                           {*call.dst[0]});
    return result;
  };
  op.spellings = {{"caffe", "Bias", "bias_param", [](const AttrReader& reader, Arity) -> Op {
                     return Bias{reader.integer("axis", 1), reader.integer("num_axes", 1)};
                   }}};
  const auto add = [&](std::string name, std::vector<TensorDesc> src, Bias bias) {
    op.cases.push_back(make_case(std::move(name), bias, std::move(src)));
  };
  add("channels", {f32({1, 32, 5, 7})}, {});
  add("odd channels", {f32({2, 19, 3, 4})}, {});
  add("one pixel", {f32({2, 16, 1, 1})}, {});
  add("all that follow", {f32({2, 3, 4, 5})}, {-2, -1});
  add("scalar", {f32({2, 3, 4, 5})}, {0, 0});
  add("second input", {f32({2, 19, 3, 4}), f32({19, 3})}, {});
  return op;
}

}  // namespace maru
