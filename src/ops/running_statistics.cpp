#include "ops/running_statistics.h"

#include <cmath>

#include "ops/reference.h"

namespace maru {

std::vector<TensorDesc> RunningStatistics::infer(Descs src) const {
  require_operands(src, 5, 5);
  if (!std::isfinite(fraction))
    throw Error("running_statistics", "a fraction that is a number", fmt::format("{}", fraction),
                "moving_average_fraction");
  if (count < 1)
    throw Error("running_statistics", "1 element a channel, or more", fmt::format("{}", count));
  const Shape& channels = src[0].shape;
  require_shape(src, 1, channels, "sum of variances");
  require_shape(src, 2, {1}, "factor");
  require_shape(src, 3, channels, "mean");
  require_shape(src, 4, channels, "variance");
  std::vector<TensorDesc> dst;
  for (std::size_t i = 0; i < 3; ++i) dst.push_back(src[i].with(Layout::plain()));
  return dst;
}

Cost RunningStatistics::cost(Descs src, Descs dst) const {
  return {4 * static_cast<double>(src[0].count()), traffic(src, dst)};
}

void RunningStatistics::reference(Views src, Views dst) const {
  for_real(src[0].desc.dtype, [&](auto zero) {
    using T = decltype(zero);
    const auto add = [&](std::size_t sum, std::size_t of_batch, double times) {
      for (std::int64_t c = 0; c < src[sum].desc.count(); ++c)
        dst[sum].as<T>()[c] =
            static_cast<T>(fraction * static_cast<double>(src[sum].as<const T>()[c]) +
                           times * static_cast<double>(src[of_batch].as<const T>()[c]));
    };
    add(0, 3, 1);
    add(1, 4, correction());
    dst[2].as<T>()[0] = static_cast<T>(fraction * static_cast<double>(src[2].as<const T>()[0]) + 1);
  });
}

Operator running_statistics_operator() {
  Operator op = operator_of<RunningStatistics>();
  const auto add = [&](std::string name, std::int64_t channels, RunningStatistics running) {
    op.cases.push_back(make_case(
        std::move(name), running,
        {f32({channels}), f32({channels}), f32({1}), f32({channels}), f32({channels})}, 0.25, 4));
  };
  add("32 channels", 32, {0.999, 98});
  add("1000 channels", 1000, {0.9, 3});
  add("one channel of one element", 1, {0.95, 1});
  return op;
}

}  // namespace maru
