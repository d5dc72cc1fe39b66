#include "ops/prelu.h"

#include "ops/reference.h"

namespace maru {

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
