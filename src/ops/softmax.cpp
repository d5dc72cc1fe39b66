#include "ops/softmax.h"

#include <algorithm>
#include <cmath>
#include <limits>

#include "ops/reference.h"

namespace maru {

std::vector<TensorDesc> Softmax::infer(Descs src) const {
  require_operands(src, 1, 1);
  src[0].shape.axis(axis);
  return {{widen ? DType::f32 : src[0].dtype, src[0].shape, Layout::plain()}};
}

Cost Softmax::cost(Descs src, Descs dst) const {
  return {5 * static_cast<double>(dst[0].count()), traffic(src, dst)};
}

void Softmax::reference(Views src, Views dst) const {
  for_real(src[0].desc.dtype, [&](auto zero) {
    using T = decltype(zero);
    const Shape& shape = src[0].desc.shape;
    const std::size_t index = shape.axis(axis);
    const Extents extents = extents_around(shape, index, index + 1);
    for (std::int64_t o = 0; o < extents.outer; ++o) {
      for (std::int64_t i = 0; i < extents.inner; ++i) {
        const std::int64_t begin = o * extents.middle * extents.inner + i;
        const auto from = [&](std::int64_t m) {
          return static_cast<double>(src[0].as<const T>()[begin + m * extents.inner]);
        };
        double most = -std::numeric_limits<double>::infinity(), sum = 0;
        for (std::int64_t m = 0; m < extents.middle; ++m) most = std::max(most, from(m));
        for (std::int64_t m = 0; m < extents.middle; ++m) sum += std::exp(from(m) - most);
        for (std::int64_t m = 0; m < extents.middle; ++m) {
          dst[0].as<T>()[begin + m * extents.inner] = static_cast<T>(std::exp(from(m) - most) / sum);
        }
      }
    }
  });
}

Operator softmax_operator() {
  Operator op = operator_of<Softmax>();
  op.spellings = {{"caffe", "Softmax", "softmax_param", [](const AttrReader& reader, Arity) -> Op {
                     return Softmax{reader.integer("axis", 1)};
                   }}};
  const auto add = [&](std::string name, Shape shape, Softmax softmax = {}, double most = 4) {
    op.cases.push_back(make_case(std::move(name), softmax, {f32(shape)}, -most, most));
  };
  add("classes", {2, 1000});
  add("one pixel", {1, 100, 1, 1});
  add("segmentation", {2, 21, 5, 3});
  add("segmentation 16", {1, 16, 4, 4});
  add("large values", {2, 10}, {}, 1e4);
  add("last axis", {2, 3, 4, 5}, {-1});
  add("first axis", {7, 3}, {0});
  add("one class", {2, 1, 3, 3});
  for (const Shape& shape : {Shape{2, 1000}, Shape{2, 21, 5, 3}})
    op.cases.push_back(make_case("widened " + shape.str(), Softmax{1, true}, {f16(shape)}, -4, 4));
  return op;
}

}  // namespace maru
