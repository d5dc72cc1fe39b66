#include "ops/reduce.h"

#include "ops/broadcast.h"

namespace maru {

std::vector<TensorDesc> Reduce::infer(Descs src) const {
  require_operands(src, 1, 2);
  if (src.size() == 2) require_shape(src, 1, src[0].shape, "second input");
  return {{widen ? DType::f32 : src[0].dtype, covered_shape(src[0].shape, axis, num_axes),
           Layout::plain()}};
}

Cost Reduce::cost(Descs src, Descs dst) const {
  return {static_cast<double>(src.size()) * static_cast<double>(src[0].count()), traffic(src, dst)};
}

void Reduce::reference(Views src, Views dst) const {
  for_real(src[0].desc.dtype, [&](auto zero) {
    using T = decltype(zero);
    const Extents extents = cover(src[0].desc.shape, dst[0].desc.shape, axis);
    std::vector<double> sums(static_cast<std::size_t>(extents.middle));
    const T* a = src[0].as<const T>();
    const T* b = src.size() == 2 ? src[1].as<const T>() : nullptr;
    for (std::int64_t o = 0; o < extents.outer; ++o) {
      for (double& sum : sums) {
        for (std::int64_t i = 0; i < extents.inner; ++i) {
          const auto value = static_cast<double>(*a++);
          sum += b == nullptr ? value : value * static_cast<double>(*b++);
        }
      }
    }
    for (std::size_t i = 0; i < sums.size(); ++i) dst[0].as<T>()[i] = static_cast<T>(sums[i]);
  });
}

Operator reduce_operator() {
  Operator op = operator_of<Reduce>();
  const auto add = [&](std::string name, std::size_t operands, Shape shape, Reduce reduce) {
    op.cases.push_back(
        make_case(std::move(name), reduce, std::vector<TensorDesc>(operands, f32(shape))));
  };
  add("channels", 1, {2, 32, 5, 7}, {});
  add("odd channels", 1, {3, 19, 3, 4}, {});
  add("last axis", 1, {6, 10}, {-1});
  add("two axes", 1, {2, 3, 4, 5}, {1, 2});
  add("scalar", 1, {2, 3, 4, 5}, {0, 0});
  add("all that follow", 1, {5, 3, 4}, {1, -1});
  add("products by channel", 2, {2, 19, 3, 4}, {});
  add("products to a scalar", 2, {2, 16, 3, 4}, {0, 0});
  add("many of few channels", 1, {3, 24, 60, 50}, {});
  add("many of a matrix", 1, {900, 72}, {-1});
  add("many to a scalar", 2, {24, 16, 7, 7}, {0, 0});
  for (const Shape& shape : {Shape{3, 24, 60, 50}, Shape{2, 19, 3, 4}, Shape{6, 10}})
    op.cases.push_back(make_case("widened " + shape.str(), Reduce{1, 1, true}, {f16(shape)}));
  return op;
}

}  // namespace maru
