#include "ops/inner_product_grad.h"

#include "ops/inner_product.h"
#include "ops/reduce.h"
#include "ops/reference.h"
#include "ops/unary_grad.h"

namespace maru {
namespace {

std::int64_t outputs_of(const Shape& result) {
  if (result.rank() == 0) throw Error("inner_product", "a result with outputs", result.str());
  return result[result.rank() - 1];
}

}  // namespace

std::vector<TensorDesc> InnerProductGradData::infer(Descs src) const {
  require_operands(src, 2, 2, 1);  // a frozen weight is a constant
  const std::int64_t outputs = outputs_of(src[0].shape);
  const Shape data{std::span<const std::int64_t>(extents)};
  const std::int64_t rows = outputs == 0 ? 0 : src[0].shape.count() / outputs;
  const std::int64_t length = rows == 0 ? 0 : data.count() / rows;
  if (rows * length != data.count())
    throw Error("inner_product", fmt::format("{} rows of one length", rows), data.str());
  require_shape(src, 1, transpose ? Shape{length, outputs} : Shape{outputs, length}, "weight");
  return {{src[0].dtype, data, Layout::plain()}};
}

Cost InnerProductGradData::cost(Descs src, Descs dst) const {
  return {2 * static_cast<double>(outputs_of(src[0].shape)) * static_cast<double>(dst[0].count()),
          traffic(src, dst)};
}

void InnerProductGradData::reference(Views src, Views dst) const {
  for_real(src[0].desc.dtype, [&](auto zero) {
    using T = decltype(zero);
    const std::int64_t outputs = outputs_of(src[0].desc.shape);
    const std::int64_t rows = outputs == 0 ? 0 : src[0].desc.count() / outputs;
    const std::int64_t length = rows == 0 ? 0 : dst[0].desc.count() / rows;
    const T *gradient = src[0].as<const T>(), *weight = src[1].as<const T>();
    for (std::int64_t row = 0; row < rows; ++row) {
      for (std::int64_t i = 0; i < length; ++i) {
        double sum = 0;
        for (std::int64_t o = 0; o < outputs; ++o) {
          sum += static_cast<double>(gradient[row * outputs + o]) *
                 static_cast<double>(weight[transpose ? i * outputs + o : o * length + i]);
        }
        dst[0].as<T>()[row * length + i] = static_cast<T>(sum);
      }
    }
  });
}

std::vector<TensorDesc> InnerProductGradWeight::infer(Descs src) const {
  require_operands(src, 2, 2);
  const Shape& data = src[0].shape;
  const std::size_t first = data.axis(axis);
  const std::int64_t outputs = outputs_of(src[1].shape), length = data.count(first, data.rank());
  if (src[1].shape.count() != data.count(0, first) * outputs)
    throw Error("inner_product", fmt::format("a result of {} rows", data.count(0, first)),
                src[1].shape.str());
  return {{widen ? DType::f32 : src[0].dtype,
           transpose ? Shape{length, outputs} : Shape{outputs, length}, Layout::plain()}};
}

Cost InnerProductGradWeight::cost(Descs src, Descs dst) const {
  return {2 * static_cast<double>(outputs_of(src[1].shape)) * static_cast<double>(src[0].count()),
          traffic(src, dst)};
}

void InnerProductGradWeight::reference(Views src, Views dst) const {
  for_real(src[0].desc.dtype, [&](auto zero) {
    using T = decltype(zero);
    const Shape& data = src[0].desc.shape;
    const std::size_t first = data.axis(axis);
    const std::int64_t rows = data.count(0, first), length = data.count(first, data.rank());
    const std::int64_t outputs = outputs_of(src[1].desc.shape);
    const T *from = src[0].as<const T>(), *gradient = src[1].as<const T>();
    for (std::int64_t o = 0; o < outputs; ++o) {
      for (std::int64_t i = 0; i < length; ++i) {
        double sum = 0;
        for (std::int64_t row = 0; row < rows; ++row) {
          sum += static_cast<double>(from[row * length + i]) *
                 static_cast<double>(gradient[row * outputs + o]);
        }
        dst[0].as<T>()[transpose ? i * outputs + o : o * length + i] = static_cast<T>(sum);
      }
    }
  });
}

Gradients inner_product_gradient(GradientCall& call) {
  const InnerProduct& product = *call.node.op.as<InnerProduct>();
  const ValueId gradient = before_activation(call, product.activation);
  const Shape in = call.src_desc(0).shape;
  Gradients result(call.node.src.size());
  if (call.wanted[1])
    result[1] = call.add("weight gradient", InnerProductGradWeight{product.axis, product.transpose},
                         {call.node.src[0], gradient});
  if (product.bias && call.wanted[2]) result[2] = call.add("bias gradient", Reduce{-1, 1}, {gradient});
  if (call.wanted[0])
    result[0] =
        call.add("data gradient", InnerProductGradData{product.transpose, {in.begin(), in.end()}},
                 {gradient, call.node.src[1]});
  return result;
}

Operator inner_product_grad_data_operator() {
  Operator op = operator_of<InnerProductGradData>();
  const auto add = [&](std::string name, Shape result, Shape weight, InnerProductGradData grad) {
    op.cases.push_back(make_case(std::move(name), std::move(grad), {f32(result), f32(weight)}));
  };
  add("classifier", {4, 100}, {100, 64}, {false, {4, 64, 1, 1}});
  add("image", {2, 7}, {7, 285}, {false, {2, 19, 3, 5}});
  add("transposed", {3, 9}, {96, 9}, {true, {3, 16, 2, 3}});
  add("last axis", {2, 3, 4, 6}, {6, 5}, {false, {2, 3, 4, 5}});
  add("tiles", {70, 72}, {72, 136}, {false, {70, 136}});
  add("transposed tiles", {70, 72}, {136, 72}, {true, {70, 136}});
  add("image 16", {9, 32}, {32, 240}, {false, {9, 16, 3, 5}});
  return op;
}

Operator inner_product_grad_weight_operator() {
  Operator op = operator_of<InnerProductGradWeight>();
  const auto add = [&](std::string name, Shape data, Shape result, InnerProductGradWeight grad) {
    op.cases.push_back(make_case(std::move(name), grad, {f32(data), f32(result)}));
  };
  add("classifier", {4, 64, 1, 1}, {4, 100}, {});
  add("image", {2, 19, 3, 5}, {2, 7}, {});
  add("transposed", {3, 16, 2, 3}, {3, 9}, {1, true});
  add("last axis", {2, 3, 4, 5}, {2, 3, 4, 6}, {-1});
  add("tiles", {70, 136}, {70, 72}, {});
  add("transposed tiles", {70, 136}, {70, 72}, {1, true});
  add("image 16", {9, 16, 3, 5}, {9, 32}, {});
  for (const InnerProductGradWeight& grad :
       {InnerProductGradWeight{1, false, true}, InnerProductGradWeight{1, true, true}}) {
    op.cases.push_back(make_case(grad.transpose ? "widened transposed" : "widened", grad,
                                 {f16({70, 136}), f16({70, 72})}));
    op.cases.push_back(make_case(grad.transpose ? "widened odd transposed" : "widened odd", grad,
                                 {f16({3, 13}), f16({3, 7})}));
  }
  return op;
}

}  // namespace maru
