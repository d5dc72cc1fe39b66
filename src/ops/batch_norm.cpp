#include "ops/batch_norm.h"

#include <cmath>

#include "ops/batch_norm_training.h"

namespace maru {
namespace {

// The recorded variance alone says by how much a gradient is scaled.
Gradients gradient_by_data(GradientCall& call) {
  if (!call.node.op.as<BatchNorm>()->takes_recorded())
    throw Error("batch_norm", "a graph for training", "one for using the network");
  const std::vector<ValueId> node_src = call.node.src;
  const ValueId no_mean = call.zeros(call.src_desc(1).shape);
  return {call.add("gradient", call.node.op, {*call.dst[0], no_mean, node_src[2], node_src[3]}),
          std::nullopt, std::nullopt, std::nullopt};
}

BatchNorm from_caffe(const AttrReader& reader) {
  BatchNorm norm{reader.number("eps", 1e-5)};
  if (reader.has("use_global_stats")) {
    norm.statistics = reader.boolean("use_global_stats", true) ? BatchNorm::Statistics::recorded
                                                               : BatchNorm::Statistics::batch;
  }
  norm.fraction = reader.number("moving_average_fraction", norm.fraction);
  return norm;
}

}  // namespace

std::string_view to_string(BatchNorm::Statistics statistics) noexcept {
  switch (statistics) {
    case BatchNorm::Statistics::by_phase:
      return "by_phase";
    case BatchNorm::Statistics::recorded:
      return "recorded";
    case BatchNorm::Statistics::batch:
      return "batch";
  }
  return "?";
}

std::vector<Param> BatchNorm::params(Descs src) const {
  require_operands(src, 1, 1);
  const std::int64_t channels = BatchNormTraining::channels_of(src[0].shape).middle;
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
  if (!takes_recorded()) {
    std::vector<std::byte> mean(src[1].desc.bytes()), variance(mean.size());
    const TensorView results[] = {dst[0], {src[1].desc, mean.data()}, {src[2].desc, variance.data()}};
    return BatchNormTraining{epsilon}.reference(src.first(1), results);
  }
  for_real(src[0].desc.dtype, [&](auto zero) {
    using T = decltype(zero);
    const auto param = [&](std::size_t index, std::int64_t c) {
      return static_cast<double>(src[index].as<const T>()[c]);
    };
    const double factor = param(3, 0) == 0 ? 0 : 1 / param(3, 0);
    map_middle(BatchNormTraining::channels_of(src[0].desc.shape), src[0].as<const T>(), dst[0].as<T>(),
               [&](double x, std::int64_t c) {
                 return (x - param(1, c) * factor) / std::sqrt(param(2, c) * factor + epsilon);
               });
  });
}

Operator batch_norm_operator() {
  Operator op = operator_of<BatchNorm>();
  op.gradient = gradient_by_data;
  op.spellings = {{"caffe", "BatchNorm", "batch_norm_param",
                   [](const AttrReader& reader, Arity) -> Op { return from_caffe(reader); }}};
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
  // As a network has them that is being trained.
  for (Shape shape : {Shape{2, 16, 3, 4}, Shape{2, 19, 3, 4}, Shape{3, 10}}) {
    const TensorDesc channels = f32({shape[1]});
    op.cases.push_back({fmt::format("statistics that are data {}", shape.str()),
                        BatchNorm{},
                        {f32(shape), channels, channels, f32({1})},
                        4,
                        0.25,
                        4});
  }
  add("of the batch", {2, 16, 3, 4}, {1e-5, BatchNorm::Statistics::batch});
  return op;
}

}  // namespace maru
