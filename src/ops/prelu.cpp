#include "ops/prelu.h"

#include "ops/eltwise.h"
#include "ops/reduce.h"
#include "ops/reference.h"
#include "ops/reshape.h"
#include "ops/scale.h"
#include "ops/unary_grad.h"

namespace maru {
namespace {

// With g of the result: by the data g where that is above 0, else slope g; by the slope the sum of
// g min(x, 0).
Gradients prelu_gradients(GradientCall& call) {
  const bool is_shared = call.node.op.as<PRelu>()->shared;
  const ValueId data = call.node.src[0], slope = call.node.src[1], gradient = *call.dst[0];
  const ValueId above = call.add("above", Unary{}, {data});
  const ValueId of_above = call.add("gradient above", UnaryGrad{Unary{}}, {gradient, above});
  const ValueId of_rest =
      call.add("gradient below", Eltwise{Eltwise::Kind::sum, {1, -1}}, {gradient, of_above});
  Gradients gradients(2);
  if (call.wanted[0]) {
    const ValueId one = is_shared ? call.add("slope alone", Reshape{}, {slope}) : slope;
    const ValueId sloped =
        call.add("gradient below, sloped", is_shared ? Scale{0, 0} : Scale{}, {of_rest, one});
    gradients[0] = call.add("gradient", Eltwise{}, {of_above, sloped});
  }
  if (call.wanted[1]) {
    const Reduce sum = is_shared ? Reduce{0, 0, true} : Reduce{1, 1, true};
    gradients[1] = call.reshaped(call.add("slope gradient", sum, {of_rest, data}), 1);
  }
  return gradients;
}

}  // namespace

std::vector<Param> PRelu::params(Descs src) const {
  require_operands(src, 1, 1);
  const Shape& shape = src[0].shape;
  if (shape.rank() < 2) throw Error("input", "2 axes or more", shape.str());
  return {{"slope", {shared ? 1 : shape[1]}}};
}

std::vector<TensorDesc> PRelu::infer(Descs src) const {
  require_operands(src, 2, 2, 1);
  require_params(src, 1, params(src.first(1)));
  return {src[0].with(Layout::plain())};
}

Cost PRelu::cost(Descs src, Descs dst) const {
  return {static_cast<double>(dst[0].count()), traffic(src, dst)};
}

void PRelu::reference(Views src, Views dst) const {
  for_real(src[0].desc.dtype, [&](auto zero) {
    using T = decltype(zero);
    const T* slope = src[1].as<const T>();
    map_middle(extents_around(src[0].desc.shape, 1, 2), src[0].as<const T>(), dst[0].as<T>(),
               [&](double x, std::int64_t c) {
                 return x > 0 ? x : x * static_cast<double>(slope[shared ? 0 : c]);
               });
  });
}

Operator prelu_operator() {
  Operator op = operator_of<PRelu>();
  op.gradient = prelu_gradients;
  op.spellings = {{"caffe", "PReLU", "prelu_param", [](const AttrReader& reader, Arity) -> Op {
                     return PRelu{reader.boolean("channel_shared", false)};
                   }}};
  const auto add = [&](std::string name, Shape shape, PRelu prelu = {}) {
    op.cases.push_back(make_case(std::move(name), prelu, {f32(shape)}));
  };
  add("16 channels", {1, 16, 5, 7});
  add("odd channels", {2, 19, 3, 4});
  add("shared", {2, 19, 3, 4}, {true});
  add("one pixel", {2, 24, 1, 1});
  add("matrix", {3, 10});
  return op;
}

}  // namespace maru
