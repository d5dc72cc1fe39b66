#include "ops/batch_norm_training.h"

#include <cmath>

#include "ops/batch_norm_grad.h"

namespace maru {

Extents BatchNormTraining::channels_of(const Shape& data) {
  if (data.rank() == 0) throw Error("input", "1 axis or more", data.str());
  return data.rank() == 1 ? Extents{1, 1, data[0]} : extents_around(data, 1, 2);
}

void BatchNormTraining::check() const {
  if (!(epsilon >= 0))
    throw Error("batch_norm", "an epsilon of 0 or more", fmt::format("{}", epsilon), "eps");
  if (activation && !fits(*activation))
    throw Error("batch_norm", "a ReLU of a slope of 0 or more", print_field(*activation));
}

std::vector<TensorDesc> BatchNormTraining::infer(Descs src) const {
  const std::size_t count = affine ? 3 : 1;
  require_operands(src, count, count, 1);
  check();
  const Shape channels{channels_of(src[0].shape).middle};
  if (src[0].count() == 0) throw Error("input", "elements to take the mean of", src[0].shape.str());
  if (affine) {
    require_shape(src, 1, channels, "scale");
    require_shape(src, 2, channels, "bias");
  }
  const TensorDesc statistics{statistics_type(src[0].dtype), channels, Layout::plain()};
  return {src[0].with(Layout::plain()), statistics, statistics};
}

Cost BatchNormTraining::cost(Descs src, Descs dst) const {
  constexpr double kFlops = 6;
  // Data is read once for the statistics, and once for the result.
  return {kFlops * static_cast<double>(dst[0].count()),
          traffic(src, dst) + static_cast<double>(src[0].bytes())};
}

void BatchNormTraining::reference(Views src, Views dst) const {
  for_real(src[0].desc.dtype, [&](auto zero) {
    using T = decltype(zero);
    const Extents extents = channels_of(src[0].desc.shape);
    const T* x = src[0].as<const T>();
    const auto channels = static_cast<std::size_t>(extents.middle);
    const auto count = static_cast<double>(extents.outer * extents.inner);
    // The sum of f(element, channel) for each channel, over the number of elements.
    const auto mean_of = [&](auto&& f) {
      std::vector<double> sums(channels);
      const T* at = x;
      for (std::int64_t o = 0; o < extents.outer; ++o) {
        for (std::size_t c = 0; c < channels; ++c) {
          for (std::int64_t i = 0; i < extents.inner; ++i) sums[c] += f(static_cast<double>(*at++), c);
        }
      }
      for (double& sum : sums) sum /= count;
      return sums;
    };
    const std::vector<double> mean = mean_of([](double value, std::size_t) { return value; });
    const std::vector<double> variance =
        mean_of([&](double value, std::size_t c) { return (value - mean[c]) * (value - mean[c]); });
    map_middle(extents, x, dst[0].as<T>(), [&](double value, std::int64_t m) {
      const auto c = static_cast<std::size_t>(m);
      double y = (value - mean[c]) / std::sqrt(variance[c] + epsilon);
      if (affine)
        y = y * static_cast<double>(src[1].as<const T>()[c]) +
            static_cast<double>(src[2].as<const T>()[c]);
      return activation ? activation->apply(y) : y;
    });
    for (std::size_t c = 0; c < channels; ++c) {
      dst[1].as<T>()[c] = static_cast<T>(mean[c]);
      dst[2].as<T>()[c] = static_cast<T>(variance[c]);
    }
  });
}

Operator batch_norm_training_operator() {
  Operator op = operator_of<BatchNormTraining>();
  op.gradient = batch_norm_gradient;
  const auto add = [&](std::string name, Shape data, BatchNormTraining norm = {}, double low = -1,
                       double high = 1) {
    std::vector<TensorDesc> src{f32(data)};
    const Shape channels{BatchNormTraining::channels_of(data).middle};
    if (norm.affine) src.insert(src.end(), 2, f32(channels));
    op.cases.push_back(make_case(std::move(name), norm, std::move(src), low, high));
  };
  const Unary relu, leaky{Unary::Kind::relu, 0.25};
  add("16 channels", {2, 16, 5, 7});
  add("odd channels", {3, 19, 3, 4}, {1e-3});
  add("scaled", {2, 32, 6, 5}, {1e-5, true});
  add("scaled odd channels and relu", {3, 19, 3, 4}, {1e-5, true, relu});
  add("leaky", {2, 24, 5, 5}, {1e-5, true, leaky});
  add("many pixels", {2, 8, 60, 41}, {1e-5, true, relu});
  add("many channels", {5, 328, 2, 2}, {1e-5, true, relu});
  add("one pixel", {6, 24, 1, 1}, {1e-5, true});
  // What mean of squares less square of mean does not survive in single precision.
  add("far from zero", {2, 17, 9, 8}, {1e-5, true}, 20, 21);
  add("matrix", {6, 10});
  add("vector", {7}, {1e-5, true});
  add("volume", {2, 3, 2, 3, 4}, {1e-2, false, relu});
  add("one element", {1, 5, 1, 1}, {1e-5, true});
  return op;
}

}  // namespace maru
