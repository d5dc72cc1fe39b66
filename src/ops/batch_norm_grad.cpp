#include "ops/batch_norm_grad.h"

#include <cmath>

namespace maru {

std::vector<TensorDesc> BatchNormGrad::infer(Descs src) const {
  const std::size_t count = norm.affine ? 6 : 4;
  require_operands(src, count, count, 2);
  norm.check();
  require_shape(src, 1, src[0].shape, "data");
  const Shape channels{BatchNormTraining::channels_of(src[0].shape).middle};
  constexpr std::string_view kRoles[] = {"", "", "mean", "variance", "scale", "bias"};
  for (std::size_t i = 2; i < count; ++i) require_shape(src, i, channels, kRoles[i]);
  std::vector<TensorDesc> dst{src[0].with(Layout::plain())};
  const TensorDesc parameter{BatchNormTraining::statistics_type(src[0].dtype), channels,
                             Layout::plain()};
  if (norm.affine) dst.insert(dst.end(), 2, parameter);
  return dst;
}

Cost BatchNormGrad::cost(Descs src, Descs dst) const {
  constexpr double kFlops = 10;
  // Both are read once for the sums, and once for the result.
  return {kFlops * static_cast<double>(dst[0].count()),
          traffic(src, dst) + 2 * static_cast<double>(src[0].bytes())};
}

void BatchNormGrad::reference(Views src, Views dst) const {
  for_real(src[0].desc.dtype, [&](auto zero) {
    using T = decltype(zero);
    const Extents extents = BatchNormTraining::channels_of(src[0].desc.shape);
    const auto count = static_cast<double>(extents.outer * extents.inner);
    const auto of_channel = [&](std::size_t operand, std::int64_t c) {
      return static_cast<double>(src[operand].as<const T>()[c]);
    };
    for (std::int64_t c = 0; c < extents.middle; ++c) {
      const double scale = norm.affine ? of_channel(4, c) : 1,
                   bias = norm.affine ? of_channel(5, c) : 0;
      const double mean = of_channel(2, c);
      const double inverse = 1 / std::sqrt(of_channel(3, c) + norm.epsilon);
      // f(index, z, gradient before the activation)
      const auto each = [&](auto&& f) {
        for (std::int64_t o = 0; o < extents.outer; ++o) {
          const std::int64_t begin = (o * extents.middle + c) * extents.inner;
          for (std::int64_t i = begin; i < begin + extents.inner; ++i) {
            const double z = (static_cast<double>(src[1].as<const T>()[i]) - mean) * inverse;
            const double slope =
                norm.activation && !(scale * z + bias > 0) ? norm.activation->alpha : 1;
            f(i, z, static_cast<double>(src[0].as<const T>()[i]) * slope);
          }
        }
      };
      double sum = 0, products = 0;
      each([&](std::int64_t, double z, double h) {
        sum += h;
        products += h * z;
      });
      each([&](std::int64_t i, double z, double h) {
        dst[0].as<T>()[i] = static_cast<T>(scale * inverse * (h - sum / count - z * products / count));
      });
      if (!norm.affine) continue;
      dst[1].as<T>()[c] = static_cast<T>(products);
      dst[2].as<T>()[c] = static_cast<T>(sum);
    }
  });
}

Gradients batch_norm_gradient(GradientCall& call) {
  const BatchNormTraining norm = *call.node.op.as<BatchNormTraining>();
  if (!call.dst[0] || call.dst[1] || call.dst[2])
    throw Error("batch_norm", "a loss that depends on its result, and not on its statistics",
                "one that depends on the statistics");
  std::vector<ValueId> src{*call.dst[0], call.node.src[0], call.node.dst[1], call.node.dst[2]};
  const std::string name = call.node.name + "/gradient";
  std::vector<std::string> names{name};
  if (norm.affine) {
    src.insert(src.end(), {call.node.src[1], call.node.src[2]});
    names.insert(names.end(), {call.node.name + "/scale gradient", call.node.name + "/bias gradient"});
  }
  const NodeId id = call.graph.add_node(name, BatchNormGrad{norm}, std::move(src), std::move(names));
  const std::vector<ValueId>& found = call.graph.node(id).dst;
  return {found.begin(), found.end()};
}

Operator batch_norm_grad_operator() {
  Operator op = operator_of<BatchNormGrad>();
  // Variances are not negative.
  const auto fill = [](Views src) {
    for_real(src[3].desc.dtype, [&](auto zero) {
      using T = decltype(zero);
      for (std::int64_t c = 0; c < src[3].desc.count(); ++c)
        src[3].as<T>()[c] = std::abs(src[3].as<T>()[c]) + T(0.25);
    });
  };
  for (const Operator& forward = batch_norm_training_operator(); const Case& one : forward.cases) {
    const TensorDesc& data = one.src[0];
    const BatchNormTraining& norm = *one.op.as<BatchNormTraining>();
    std::vector<TensorDesc> src{data, data};
    src.insert(src.end(), norm.affine ? 4 : 2,
               f32({BatchNormTraining::channels_of(data.shape).middle}));
    op.cases.push_back(make_case(one.name, BatchNormGrad{norm}, std::move(src), one.low, one.high));
    op.cases.back().fill = fill;
  }
  return op;
}

}  // namespace maru
