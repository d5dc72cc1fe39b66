#include "ops/scale.h"

#include "ops/reduce.h"

namespace maru {

std::vector<Param> Scale::params(Descs src) const {
  require_operands(src, 1, 2, 1);
  std::vector<Param> wanted;
  if (src.size() == 1) wanted.push_back({"scale", covered_shape(src[0].shape, axis, num_axes)});
  if (bias) wanted.push_back({"bias", wanted.empty() ? src[1].shape : wanted[0].shape});
  return wanted;
}

std::vector<TensorDesc> Scale::infer(Descs src) const {
  const std::size_t operands = bias ? 3 : 2;
  require_operands(src, operands, operands, 1);
  covered(src[0].shape, src[1].shape);
  if (bias) require_shape(src, 2, src[1].shape, "bias");
  return {src[0].with(Layout::plain())};
}

Cost Scale::cost(Descs src, Descs dst) const {
  return {(bias ? 2.0 : 1.0) * static_cast<double>(dst[0].count()), traffic(src, dst)};
}

void Scale::reference(Views src, Views dst) const {
  for_real(src[0].desc.dtype, [&](auto zero) {
    using T = decltype(zero);
    const T* scale = src[1].as<const T>();
    const T* shift = bias ? src[2].as<const T>() : nullptr;
    map_middle(covered(src[0].desc.shape, src[1].desc.shape), src[0].as<const T>(), dst[0].as<T>(),
               [&](double x, std::int64_t m) {
                 return x * static_cast<double>(scale[m]) +
                        (shift ? static_cast<double>(shift[m]) : 0.0);
               });
  });
}

Operator scale_operator() {
  Operator op = operator_of<Scale>();
  op.gradient = [](GradientCall& call) -> Gradients {
    const Scale& scale = *call.node.op.as<Scale>();
    const auto axes = static_cast<std::int64_t>(call.src_desc(1).shape.rank());
    Gradients result(call.node.src.size());
    if (call.wanted[0])
      result[0] = call.add("data gradient", Scale{scale.axis, scale.num_axes},
                           {*call.dst[0], call.node.src[1]});
    const Reduce over{axes == 0 ? 0 : scale.axis, axes};
    if (call.wanted[1]) result[1] = call.add("scale gradient", over, {*call.dst[0], call.node.src[0]});
    if (scale.bias && call.wanted[2]) result[2] = call.add("bias gradient", over, {*call.dst[0]});
    return result;
  };
  op.spellings = {{"caffe", "Scale", "scale_param", [](const AttrReader& reader, Arity) -> Op {
                     return Scale{reader.integer("axis", 1), reader.integer("num_axes", 1),
                                  reader.boolean("bias_term", false)};
                   }}};
  const auto add = [&](std::string name, std::vector<TensorDesc> src, Scale scale) {
    op.cases.push_back(make_case(std::move(name), scale, std::move(src)));
  };
  add("channels", {f32({1, 32, 5, 7})}, {});
  add("odd channels and bias", {f32({2, 19, 3, 4})}, {1, 1, true});
  add("one pixel and bias", {f32({2, 16, 1, 1})}, {1, 1, true});
  add("two axes", {f32({2, 3, 4, 5})}, {1, 2, true});
  add("all that follow", {f32({2, 3, 4, 5})}, {-2, -1});
  add("scalar", {f32({2, 3, 4, 5})}, {0, 0, true});
  add("second input", {f32({2, 19, 3, 4}), f32({2, 19})}, {0});
  add("second input and bias", {f32({2, 16, 3, 4}), f32({16, 3})}, {1, 1, true});
  add("equal inputs", {f32({2, 3, 4}), f32({2, 3, 4})}, {0});
  return op;
}

}  // namespace maru
