#include "ops/inner_product.h"

#include "ops/inner_product_grad.h"
#include "ops/reference.h"

namespace maru {

std::vector<Param> InnerProduct::params(Descs src) const {
  require_operands(src, 1, 1);
  if (outputs < 1)
    throw Error("inner_product", "1 or more outputs", fmt::format("{}", outputs), "num_output");
  const Shape& in = src[0].shape;
  const std::int64_t length = in.count(in.axis(axis), in.rank());
  std::vector<Param> wanted{{"weight", transpose ? Shape{length, outputs} : Shape{outputs, length}}};
  if (bias) wanted.push_back({"bias", {outputs}});
  return wanted;
}

std::vector<TensorDesc> InnerProduct::infer(Descs src) const {
  const std::size_t operands = bias ? 3 : 2;
  require_operands(src, operands, operands, 1);
  require_params(src, 1, params(src.first(1)));
  const auto kept = src[0].shape.extents().first(src[0].shape.axis(axis));
  std::vector<std::int64_t> extents(kept.begin(), kept.end());
  extents.push_back(outputs);
  return {{src[0].dtype, Shape(extents), Layout::plain()}};
}

Cost InnerProduct::cost(Descs src, Descs dst) const {
  const Shape& in = src[0].shape;
  const auto length = static_cast<double>(in.count(in.axis(axis), in.rank()));
  return {2 * length * static_cast<double>(dst[0].count()), traffic(src, dst)};
}

void InnerProduct::reference(Views src, Views dst) const {
  for_real(src[0].desc.dtype, [&](auto zero) {
    using T = decltype(zero);
    const Shape& in = src[0].desc.shape;
    const std::size_t index = in.axis(axis);
    const std::int64_t rows = in.count(0, index), length = in.count(index, in.rank());
    const T* data = src[0].as<const T>();
    const T* weight = src[1].as<const T>();
    const std::int64_t output_step = transpose ? 1 : length, step = transpose ? outputs : 1;
    for (std::int64_t row = 0; row < rows; ++row) {
      for (std::int64_t o = 0; o < outputs; ++o) {
        double sum = bias ? static_cast<double>(src[2].as<const T>()[o]) : 0.0;
        for (std::int64_t i = 0; i < length; ++i) {
          sum += static_cast<double>(data[row * length + i]) *
                 static_cast<double>(weight[o * output_step + i * step]);
        }
        if (activation) sum = activation->apply(sum);
        dst[0].as<T>()[row * outputs + o] = static_cast<T>(sum);
      }
    }
  });
}

Operator inner_product_operator() {
  Operator op = operator_of<InnerProduct>();
  op.gradient = inner_product_gradient;
  op.spellings = {
      {"caffe", "InnerProduct", "inner_product_param", [](const AttrReader& reader, Arity) -> Op {
         return InnerProduct{reader.integer("num_output", 0), reader.integer("axis", 1),
                             reader.boolean("bias_term", true), reader.boolean("transpose", false)};
       }}};
  const auto add = [&](std::string name, Shape shape, InnerProduct product) {
    op.cases.push_back(make_case(std::move(name), product, {f32(shape)}));
  };
  add("classifier", {1, 64, 1, 1}, {100});
  add("image", {2, 19, 3, 5}, {7});
  add("image 16", {2, 16, 3, 5}, {32, 1, true, false, Unary{}});
  add("vector", {3, 10}, {16, 1, false});
  add("transposed", {2, 16, 2, 3}, {9, 1, true, true});
  add("last axis", {2, 3, 4, 5}, {6, -1});
  add("all axes", {2, 3, 4}, {5, 0, false, true, Unary{Unary::Kind::sigmoid}});
  add("one output", {2, 33}, {1});
  // In training weights and biases are data.
  const auto add_training = [&](std::string name, Shape shape, InnerProduct product) {
    add("training " + std::move(name), shape, product);
    op.cases.back().data = op.cases.back().src.size();
  };
  add_training("classifier", {4, 64, 1, 1}, {100});
  add_training("image", {2, 19, 3, 5}, {7});
  add_training("image 16", {9, 16, 3, 5}, {32, 1, true, false, Unary{}});
  add_training("transposed", {2, 16, 2, 3}, {9, 1, true, true});
  add_training("transposed tiles", {70, 136}, {72, 1, false, true});
  add_training("last axis", {2, 3, 4, 5}, {6, -1});
  add_training("one row", {1, 32}, {16, 1, true, false, Unary{Unary::Kind::sigmoid}});
  return op;
}

}  // namespace maru
