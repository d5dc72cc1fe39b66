#include "ops/loss.h"

#include <algorithm>
#include <cmath>
#include <limits>

#include "ops/reference.h"

namespace maru {
namespace {

// The classes of the scores, and what lies before and behind them: a place each.
Extents places_of(const Shape& scores, std::int64_t axis) {
  const std::size_t index = scores.axis(axis);
  return extents_around(scores, index, index + 1);
}

void require_labels(Descs src, const Extents& places) {
  const std::int64_t wanted = places.outer * places.inner;
  if (src[1].count() != wanted)
    throw Error("labels", fmt::format("{}, one for each place of {}", wanted, src[0].shape.str()),
                src[1].shape.str());
}

void require_one(Descs src, std::size_t index) {
  if (src[index].count() != 1)
    throw Error("inputs", "the gradient of one loss", src[index].shape.str());
}

// Calls f(index of its first class, label) for each place.
template <class T, class F>
void each_place(const Extents& places, const T* labels, F&& f) {
  for (std::int64_t o = 0; o < places.outer; ++o) {
    for (std::int64_t i = 0; i < places.inner; ++i) {
      f(o * places.middle * places.inner + i, static_cast<double>(labels[o * places.inner + i]));
    }
  }
}

bool is_class(double label, std::int64_t classes) {
  return label >= 0 && label < static_cast<double>(classes) && label == std::floor(label);
}

bool is_ignored(const std::optional<std::int64_t>& ignore, double label) {
  return ignore && label == static_cast<double>(*ignore);
}

double divisor_of(LossNorm norm, const Extents& places, std::int64_t valid) {
  switch (norm) {
    case LossNorm::full:
      return static_cast<double>(places.outer * places.inner);
    case LossNorm::valid:
      return static_cast<double>(std::max<std::int64_t>(valid, 1));
    case LossNorm::batch_size:
      return static_cast<double>(places.outer);
    case LossNorm::none:
      return 1;
  }
  return 1;
}

std::optional<std::int64_t> ignored_by_caffe(const AttrReader& reader, std::string_view field) {
  if (!reader.has(field)) return std::nullopt;
  return reader.integer(field, 0);
}

// Caffe: loss_param { normalization }, or its older normalize.
LossNorm norm_from_caffe(const AttrReader& reader, LossNorm fallback) {
  const LossNorm norm = enumerator<LossNorm>(reader, "loss_param.normalization", fallback,
                                             {{"FULL", LossNorm::full},
                                              {"VALID", LossNorm::valid},
                                              {"BATCH_SIZE", LossNorm::batch_size},
                                              {"NONE", LossNorm::none}});
  if (!reader.has("loss_param.normalize")) return norm;
  const bool valid = reader.boolean("loss_param.normalize", true);
  if (reader.has("loss_param.normalization")) return norm;
  return valid ? LossNorm::valid : LossNorm::batch_size;
}

Op pair_loss_from_caffe(const AttrReader& reader, PairLoss::Kind kind) {
  // EuclideanLoss reads none of these.
  if (kind == PairLoss::Kind::sigmoid_cross_entropy) {
    const LossNorm norm = norm_from_caffe(reader, LossNorm::batch_size);
    if (norm != LossNorm::batch_size)
      throw Error("loss_param", "normalization: BATCH_SIZE for this loss", to_string(norm),
                  "normalization: BATCH_SIZE with another loss_weight");
    if (reader.has("loss_param.ignore_label"))
      throw Error("loss_param", "no ignore_label for this loss",
                  fmt::format("{}", reader.integer("loss_param.ignore_label", 0)));
  }
  return PairLoss{kind};
}

// Whole numbers below `classes` in the labels of a case.
template <int kClasses>
void fill_labels(Views src) {
  for_real(src[1].desc.dtype, [&](auto zero) {
    using T = decltype(zero);
    T* labels = src[1].as<T>();
    for (std::int64_t i = 0; i < src[1].desc.count(); ++i)
      labels[i] = static_cast<T>((i * 7 + 3) % kClasses);
  });
}

}  // namespace

std::string_view to_string(LossNorm norm) noexcept {
  switch (norm) {
    case LossNorm::full:
      return "full";
    case LossNorm::valid:
      return "valid";
    case LossNorm::batch_size:
      return "batch_size";
    case LossNorm::none:
      return "sum";
  }
  return "?";
}

std::string_view to_string(PairLoss::Kind kind) noexcept {
  return kind == PairLoss::Kind::euclidean ? "euclidean" : "sigmoid_cross_entropy";
}

std::vector<TensorDesc> SoftmaxLoss::infer(Descs src) const {
  require_operands(src, 2, 2);
  require_labels(src, places_of(src[0].shape, axis));
  return {{src[0].dtype, {1}, Layout::plain()}, src[0].with(Layout::plain())};
}

Cost SoftmaxLoss::cost(Descs src, Descs dst) const {
  return {5 * static_cast<double>(src[0].count()), traffic(src, dst)};
}

void SoftmaxLoss::reference(Views src, Views dst) const {
  for_real(src[0].desc.dtype, [&](auto zero) {
    using T = decltype(zero);
    const Extents places = places_of(src[0].desc.shape, axis);
    const T* scores = src[0].as<const T>();
    T* shares = dst[1].as<T>();
    double loss = 0;
    std::int64_t valid = 0;
    each_place(places, src[1].as<const T>(), [&](std::int64_t begin, double label) {
      double most = -std::numeric_limits<double>::infinity(), sum = 0;
      for (std::int64_t m = 0; m < places.middle; ++m)
        most = std::max(most, static_cast<double>(scores[begin + m * places.inner]));
      for (std::int64_t m = 0; m < places.middle; ++m)
        sum += std::exp(static_cast<double>(scores[begin + m * places.inner]) - most);
      for (std::int64_t m = 0; m < places.middle; ++m) {
        const std::int64_t at = begin + m * places.inner;
        shares[at] = static_cast<T>(std::exp(static_cast<double>(scores[at]) - most) / sum);
      }
      if (is_ignored(ignore, label)) return;
      ++valid;
      if (!is_class(label, places.middle)) {
        loss = std::numeric_limits<double>::quiet_NaN();
        return;
      }
      const std::int64_t at = begin + static_cast<std::int64_t>(label) * places.inner;
      loss += std::log(sum) + most - static_cast<double>(scores[at]);
    });
    dst[0].as<T>()[0] = static_cast<T>(loss / divisor_of(norm, places, valid));
  });
}

std::vector<TensorDesc> SoftmaxLossGrad::infer(Descs src) const {
  require_operands(src, 3, 3);
  require_labels(src, places_of(src[0].shape, loss.axis));
  require_one(src, 2);
  return {src[0].with(Layout::plain())};
}

Cost SoftmaxLossGrad::cost(Descs src, Descs dst) const {
  return {2 * static_cast<double>(src[0].count()), traffic(src, dst)};
}

void SoftmaxLossGrad::reference(Views src, Views dst) const {
  for_real(src[0].desc.dtype, [&](auto zero) {
    using T = decltype(zero);
    const Extents places = places_of(src[0].desc.shape, loss.axis);
    const T *shares = src[0].as<const T>(), *labels = src[1].as<const T>();
    std::int64_t valid = 0;
    each_place(places, labels,
               [&](std::int64_t, double label) { valid += !is_ignored(loss.ignore, label); });
    const double factor =
        static_cast<double>(src[2].as<const T>()[0]) / divisor_of(loss.norm, places, valid);
    each_place(places, labels, [&](std::int64_t begin, double label) {
      const bool counts = !is_ignored(loss.ignore, label);
      // Of what is no class nothing can be learned: the norm of the gradients shows it.
      const double missing =
          is_class(label, places.middle) ? 0 : std::numeric_limits<double>::quiet_NaN();
      for (std::int64_t m = 0; m < places.middle; ++m) {
        const std::int64_t at = begin + m * places.inner;
        const double wanted = label == static_cast<double>(m) ? 1 : missing;
        dst[0].as<T>()[at] =
            counts ? static_cast<T>((static_cast<double>(shares[at]) - wanted) * factor) : T(0);
      }
    });
  });
}

std::vector<TensorDesc> PairLoss::infer(Descs src) const {
  require_operands(src, 2, 2);
  require_shape(src, 1, src[0].shape, "what should have come");
  if (src[0].shape.rank() == 0) throw Error("pair_loss", "images on axis 0", src[0].shape.str());
  return {{src[0].dtype, {1}, Layout::plain()}};
}

Cost PairLoss::cost(Descs src, Descs dst) const {
  return {3 * static_cast<double>(src[0].count()), traffic(src, dst)};
}

void PairLoss::reference(Views src, Views dst) const {
  for_real(src[0].desc.dtype, [&](auto zero) {
    using T = decltype(zero);
    double sum = 0;
    for (std::int64_t i = 0; i < src[0].desc.count(); ++i) {
      const auto a = static_cast<double>(src[0].as<const T>()[i]);
      const auto b = static_cast<double>(src[1].as<const T>()[i]);
      // log(1 + exp(-|a|)) does not overflow.
      sum += kind == Kind::euclidean ? (a - b) * (a - b) / 2
                                     : std::max(a, 0.0) - a * b + std::log1p(std::exp(-std::fabs(a)));
    }
    dst[0].as<T>()[0] = static_cast<T>(sum / static_cast<double>(src[0].desc.shape[0]));
  });
}

std::vector<TensorDesc> PairLossGrad::infer(Descs src) const {
  require_operands(src, 3, 3);
  require_one(src, 2);
  loss.infer(src.first(2));
  return {src[0].with(Layout::plain())};
}

Cost PairLossGrad::cost(Descs src, Descs dst) const {
  return {3 * static_cast<double>(src[0].count()), traffic(src, dst)};
}

void PairLossGrad::reference(Views src, Views dst) const {
  for_real(src[0].desc.dtype, [&](auto zero) {
    using T = decltype(zero);
    const double factor =
        static_cast<double>(src[2].as<const T>()[0]) / static_cast<double>(src[0].desc.shape[0]);
    for (std::int64_t i = 0; i < src[0].desc.count(); ++i) {
      const auto a = static_cast<double>(src[0].as<const T>()[i]);
      const auto b = static_cast<double>(src[1].as<const T>()[i]);
      const double came = loss.kind == PairLoss::Kind::euclidean ? a : 1 / (1 + std::exp(-a));
      dst[0].as<T>()[i] = static_cast<T>((came - b) * factor);
    }
  });
}

std::vector<TensorDesc> Accuracy::infer(Descs src) const {
  require_operands(src, 2, 2);
  const Extents places = places_of(src[0].shape, axis);
  require_labels(src, places);
  if (top < 1 || top > places.middle)
    throw Error("accuracy", fmt::format("a top of 1 to {} classes", places.middle),
                fmt::format("{}", top), "top_k");
  return {{src[0].dtype, {1}, Layout::plain()}};
}

Cost Accuracy::cost(Descs src, Descs dst) const {
  return {static_cast<double>(src[0].count()), traffic(src, dst)};
}

void Accuracy::reference(Views src, Views dst) const {
  for_real(src[0].desc.dtype, [&](auto zero) {
    using T = decltype(zero);
    const Extents places = places_of(src[0].desc.shape, axis);
    const T* scores = src[0].as<const T>();
    std::int64_t hits = 0, valid = 0;
    each_place(places, src[1].as<const T>(), [&](std::int64_t begin, double label) {
      if (is_ignored(ignore, label)) return;
      ++valid;
      if (!is_class(label, places.middle)) return;
      const T own = scores[begin + static_cast<std::int64_t>(label) * places.inner];
      std::int64_t above = -1;  // itself
      for (std::int64_t m = 0; m < places.middle; ++m) above += scores[begin + m * places.inner] >= own;
      hits += above >= 0 && above < top;  // NaN is above nothing
    });
    dst[0].as<T>()[0] = static_cast<T>(static_cast<double>(hits) /
                                       static_cast<double>(std::max<std::int64_t>(valid, 1)));
  });
}

Operator softmax_loss_operator() {
  Operator op = operator_of<SoftmaxLoss>();
  op.gradient = [](GradientCall& call) -> Gradients {
    if (!call.dst[0]) return {std::nullopt, std::nullopt};
    if (call.dst[1])
      throw Error("softmax_loss", "no loss behind the shares of the classes", "one",
                  "a Softmax layer of its own");
    const SoftmaxLoss& loss = *call.node.op.as<SoftmaxLoss>();
    return {
        call.add("gradient", SoftmaxLossGrad{loss}, {call.node.dst[1], call.node.src[1], *call.dst[0]}),
        std::nullopt};
  };
  op.spellings = {{"caffe", "SoftmaxWithLoss", "", [](const AttrReader& reader, Arity) -> Op {
                     return SoftmaxLoss{reader.integer("softmax_param.axis", 1),
                                        ignored_by_caffe(reader, "loss_param.ignore_label"),
                                        norm_from_caffe(reader, LossNorm::valid)};
                   }}};
  const auto add = [&](std::string name, Shape scores, Shape labels, SoftmaxLoss loss,
                       void (*fill)(Views)) {
    op.cases.push_back(make_case(std::move(name), loss, {f32(scores), f32(labels)}, -4, 4));
    op.cases.back().fill = fill;
  };
  add("classes", {4, 200}, {4}, {}, fill_labels<200>);
  add("one pixel", {2, 10, 1, 1}, {2, 1, 1, 1}, {1, std::nullopt, LossNorm::batch_size},
      fill_labels<10>);
  add("segmentation", {2, 21, 3, 5}, {2, 1, 3, 5}, {1, 4, LossNorm::valid}, fill_labels<21>);
  add("full", {2, 21, 3, 5}, {2, 1, 3, 5}, {1, 3, LossNorm::full}, fill_labels<21>);
  add("sum over the last axis", {2, 3, 7}, {2, 3}, {-1, std::nullopt, LossNorm::none}, fill_labels<7>);
  return op;
}

Operator softmax_loss_grad_operator() {
  Operator op = operator_of<SoftmaxLossGrad>();
  for (const Operator& forward = softmax_loss_operator(); const Case& one : forward.cases) {
    op.cases.push_back(make_case(one.name, SoftmaxLossGrad{*one.op.as<SoftmaxLoss>()},
                                 {one.src[0], one.src[1], f32({1})}, 0, 1));
    op.cases.back().fill = one.fill;
  }
  return op;
}

Operator pair_loss_operator() {
  Operator op = operator_of<PairLoss>();
  op.gradient = [](GradientCall& call) -> Gradients {
    const PairLoss& loss = *call.node.op.as<PairLoss>();
    const std::vector<ValueId> src{call.node.src[0], call.node.src[1], *call.dst[0]};
    Gradients result(2);
    if (call.wanted[0]) result[0] = call.add("gradient", PairLossGrad{loss}, src);
    if (call.wanted[1]) {
      if (loss.kind != PairLoss::Kind::euclidean)
        throw Error("pair_loss", "targets that nobody trains", "a gradient asked for them");
      result[1] = call.add("target gradient", PairLossGrad{loss}, {src[1], src[0], src[2]});
    }
    return result;
  };
  op.spellings = {{"caffe", "EuclideanLoss", "",
                   [](const AttrReader& reader, Arity) -> Op {
                     return pair_loss_from_caffe(reader, PairLoss::Kind::euclidean);
                   }},
                  {"caffe", "SigmoidCrossEntropyLoss", "", [](const AttrReader& reader, Arity) -> Op {
                     return pair_loss_from_caffe(reader, PairLoss::Kind::sigmoid_cross_entropy);
                   }}};
  for (const auto kind : {PairLoss::Kind::euclidean, PairLoss::Kind::sigmoid_cross_entropy})
    op.cases.push_back(make_case(std::string(to_string(kind)), PairLoss{kind},
                                 {f32({3, 5, 2, 2}), f32({3, 5, 2, 2})}, 0, 1));
  return op;
}

Operator pair_loss_grad_operator() {
  Operator op = operator_of<PairLossGrad>();
  for (const auto kind : {PairLoss::Kind::euclidean, PairLoss::Kind::sigmoid_cross_entropy})
    op.cases.push_back(make_case(std::string(to_string(kind)), PairLossGrad{{kind}},
                                 {f32({3, 5, 2, 2}), f32({3, 5, 2, 2}), f32({1})}, 0, 1));
  return op;
}

Operator accuracy_operator() {
  Operator op = operator_of<Accuracy>();
  op.spellings = {
      {"caffe", "Accuracy", "accuracy_param", [](const AttrReader& reader, Arity arity) -> Op {
         if (arity.dst > 1)
           throw Error("tops", "one top: the share of all", "two: that of each class too",
                       "leaving out the second; maru test gives the table of classes");
         return Accuracy{reader.integer("axis", 1), reader.integer("top_k", 1),
                         ignored_by_caffe(reader, "ignore_label")};
       }}};
  const auto add = [&](std::string name, Shape scores, Shape labels, Accuracy accuracy,
                       void (*fill)(Views)) {
    op.cases.push_back(make_case(std::move(name), accuracy, {f32(scores), f32(labels)}));
    op.cases.back().fill = fill;
  };
  add("top 1", {32, 10}, {32}, {}, fill_labels<10>);
  add("top 5", {32, 10, 1, 1}, {32}, {1, 5}, fill_labels<10>);
  add("ignored", {4, 7, 3, 2}, {4, 1, 3, 2}, {1, 2, 3}, fill_labels<7>);
  return op;
}

}  // namespace maru
