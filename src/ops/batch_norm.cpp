#include "ops/batch_norm.h"

#include <cmath>

#include "ops/reference.h"

namespace maru {
namespace {

Extents channels_of(const Shape& shape) {
  if (shape.rank() == 0) throw Error("input", "1 axis or more", shape.str());
  return shape.rank() == 1 ? Extents{1, 1, shape[0]} : extents_around(shape, 1, 2);
}

}  // namespace

std::vector<Param> BatchNorm::params(Descs src) const {
  require_operands(src, 1, 1);
  const std::int64_t channels = channels_of(src[0].shape).middle;
  return {{"mean", {channels}}, {"variance", {channels}}, {"factor", {1}}};
}

std::vector<TensorDesc> BatchNorm::infer(Descs src) const {
  require_operands(src, 4, 4, 1);
  if (!(epsilon >= 0)) throw Error("batch_norm", "an epsilon of 0 or more", fmt::format("{}", epsilon));
  require_params(src, 1, params(src.first(1)));
  return {src[0].with(Layout::plain())};
}

Cost BatchNorm::cost(Descs src, Descs dst) const {
  return {2 * static_cast<double>(dst[0].count()), traffic(src, dst)};
}

void BatchNorm::reference(Views src, Views dst) const {
  for_real(src[0].desc.dtype, [&](auto zero) {
    using T = decltype(zero);
    const auto param = [&](std::size_t index, std::int64_t c) {
      return static_cast<double>(src[index].as<const T>()[c]);
    };
    const double factor = param(3, 0) == 0 ? 0 : 1 / param(3, 0);
    map_middle(channels_of(src[0].desc.shape), src[0].as<const T>(), dst[0].as<T>(),
               [&](double x, std::int64_t c) {
                 return (x - param(1, c) * factor) / std::sqrt(param(2, c) * factor + epsilon);
               });
  });
}

Operator batch_norm_operator() {
  Operator op = operator_of<BatchNorm>();
  op.spellings = {{"caffe", "BatchNorm", "batch_norm_param", [](const AttrReader& reader, Arity) -> Op {
                     if (!reader.boolean("use_global_stats", true)) {
                       throw Error("use_global_stats", "the statistics that training recorded",
                                   "false, the statistics of whatever batch comes",
                                   "true, or leaving it out");
                     }
                     return BatchNorm{reader.number("eps", 1e-5)};
                   }}};
  const auto add = [&](std::string name, Shape shape, BatchNorm norm = {}) {
    // Variances are not negative, nor is the number of batches.
    op.cases.push_back(make_case(std::move(name), norm, {f32(shape)}, 0.25, 4));
  };
  add("16 channels", {1, 16, 5, 7});
  add("odd channels", {2, 19, 3, 4}, {1e-3});
  add("one pixel", {2, 24, 1, 1});
  add("matrix", {3, 10});
  add("vector", {5});
  add("volume", {2, 3, 2, 3, 4});
  return op;
}

}  // namespace maru
