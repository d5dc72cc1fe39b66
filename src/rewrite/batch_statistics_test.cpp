// What training makes of batch normalisation: graphs in, text out.
#include "rewrite/batch_statistics.h"

#include "base/error.h"
#include "ops/batch_norm.h"
#include "ops/batch_norm_grad.h"
#include "ops/inner_product.h"
#include "ops/loss.h"
#include "ops/running_statistics.h"
#include "ops/scale.h"
#include "ops/unary.h"
#include "rewrite/test_graphs.h"
#include "rewrite/training.h"

namespace maru {
namespace {

using namespace rewrite_tests;

using Statistics = BatchNorm::Statistics;

std::string rewritten(Builder& builder) {
  use_batch_statistics(builder.graph);
  builder.graph.tidy();
  builder.graph.verify();
  const std::string printed = builder.graph.print();
  return printed.substr(printed.find('\n') + 1);
}

TEST(BatchStatistics, ScaleAndReluAreOneWithIt) {
  Builder b;
  ValueId at = b.input("data", {4, 2, 3, 3});
  at = b.add("bn", BatchNorm{1e-3, Statistics::by_phase, 0.9}, {at}, "norm");
  at = b.add("scale", Scale{1, 1, true}, {at}, "scaled");
  b.output(b.add("relu", Unary{}, {at}, "result"));
  const std::vector<Statistic> statistics = use_batch_statistics(b.graph);
  b.graph.tidy();
  b.graph.verify();
  ASSERT_EQ(statistics.size(), 3u);
  EXPECT_EQ(statistics[0].name, "bn/mean");
  EXPECT_EQ(statistics[1].name, "bn/variance");
  EXPECT_EQ(statistics[1].shape, Shape({2}));
  EXPECT_EQ(statistics[2].name, "bn/factor");
  ASSERT_EQ(b.graph.nodes().size(), 2u);
  EXPECT_EQ(b.graph.nodes()[0].op.key(),
            "batch_norm_training epsilon=0.001 affine=yes activation=relu");
  EXPECT_EQ(b.graph.nodes()[1].op.key(), "running_statistics fraction=0.9 count=36");
  EXPECT_EQ(b.graph.value(b.graph.outputs[0]).name, "result");
  ASSERT_EQ(b.graph.states.size(), 3u);
  for (std::size_t i = 0; i < 3; ++i) {
    const State& state = b.graph.states[i];
    EXPECT_EQ(b.graph.value(state.begin).name, statistics[i].name);
    EXPECT_EQ(state.end, b.graph.nodes()[1].dst[i]);
    EXPECT_EQ(b.graph.nodes()[1].src[i], state.begin);  // so that it can be written in place
  }
}

TEST(BatchStatistics, WhatOthersReadStays) {
  const auto ops = [](auto&& change) {
    Builder b;
    ValueId norm = b.add("bn", BatchNorm{}, {b.input("data", {4, 2, 3, 3})});
    Scale scale{1, 1, true};
    Unary unary;
    change(b, norm, scale, unary);
    const ValueId scaled = b.add("scale", scale, {norm});
    b.output(b.add("relu", unary, {scaled}));
    rewritten(b);
    std::string names;
    for (const Node& node : b.graph.nodes()) names += node.op.key() + "; ";
    return names;
  };
  const std::string recording = "running_statistics count=36; ";
  EXPECT_EQ(ops([](Builder&, ValueId, Scale&, Unary&) {}),
            "batch_norm_training affine=yes activation=relu; " + recording);
  EXPECT_EQ(ops([](Builder& b, ValueId norm, Scale&, Unary&) { b.output(norm); }),
            "batch_norm_training; scale bias=yes; unary; " + recording);
  // A scale that is not of channels, or has no bias, and an activation that is another.
  EXPECT_EQ(ops([](Builder&, ValueId, Scale& scale, Unary&) { scale.num_axes = 3; }),
            "batch_norm_training; scale num_axes=3 bias=yes; unary; " + recording);
  EXPECT_EQ(ops([](Builder&, ValueId, Scale& scale, Unary&) { scale.bias = false; }),
            "batch_norm_training; scale; unary; " + recording);
  EXPECT_EQ(ops([](Builder&, ValueId, Scale&, Unary& unary) { unary.kind = Unary::Kind::sigmoid; }),
            "batch_norm_training affine=yes; unary kind=sigmoid; " + recording);
}

TEST(BatchStatistics, RecordedOnesAreUsedWhereTheDefinitionSaysSo) {
  Builder b;
  ValueId at = b.input("data", {4, 2, 3, 3});
  at = b.add("first", BatchNorm{1e-5, Statistics::recorded}, {at});
  b.output(b.add("second", BatchNorm{1e-5, Statistics::batch}, {at}));
  EXPECT_EQ(use_batch_statistics(b.graph).size(), 3u);
  b.graph.tidy();
  EXPECT_EQ(b.graph.nodes()[0].op.key(), "batch_norm statistics=recorded");
  EXPECT_EQ(b.graph.nodes()[1].op.key(), "batch_norm_training");
}

TEST(BatchStatistics, AreOfOneLayerEach) {
  Builder b;
  const ValueId data = b.input("data", {4, 2, 3, 3});
  const ValueId first = b.add("bn", BatchNorm{}, {data});
  const Node& node = b.graph.nodes()[0];
  const NodeId second =
      b.graph.add_node("again", BatchNorm{}, {first, node.src[1], node.src[2], node.src[3]}, {"again"});
  b.output(b.graph.node(second).dst[0]);
  try {
    use_batch_statistics(b.graph);
    FAIL();
  } catch (const Error& error) {
    EXPECT_EQ(error.where(), "again");
    EXPECT_EQ(error.got(), "bn/mean of another layer");
  }
}

// Statistics that are used as recorded are no parameters, and what comes before has a gradient.
TEST(BatchStatistics, TrainingGoesThroughRecordedOnes) {
  Builder b;
  const ValueId label = b.input("label", {4, 2, 3, 3});
  ValueId at = b.add("conv", conv(2), {b.input("data", {4, 2, 3, 3})});
  at = b.add("bn", BatchNorm{1e-5, Statistics::recorded}, {at});
  const NodeId loss = b.graph.add_node("loss", PairLoss{}, {at, label}, {"loss"});
  b.output(b.graph.node(loss).dst[0]);
  TrainingOptions options;
  options.losses = {{"loss", 1}};
  const auto [parameters, statistics, recomputed] = build_gradients(b.graph, options);
  EXPECT_TRUE(statistics.empty());
  EXPECT_EQ(recomputed, 0u);
  ASSERT_EQ(parameters.size(), 2u);
  EXPECT_EQ(parameters[0].name, "conv/weight");
  EXPECT_EQ(parameters[1].name, "conv/bias");
}

// In half precision, too: data alone is in halves.
TEST(BatchStatistics, AreInSinglePrecision) {
  Builder b;
  const ValueId label = b.input("label", {4, 3});
  ValueId at = b.add("conv", conv(2), {b.input("data", {4, 2, 3, 3})});
  at = b.add("bn", BatchNorm{}, {at});
  at = b.add("scale", Scale{1, 1, true}, {at});
  at = b.add("ip", InnerProduct{3}, {b.add("relu", Unary{}, {at})});
  const NodeId loss = b.graph.add_node("loss", PairLoss{}, {at, label}, {"loss"});
  b.output(b.graph.node(loss).dst[0]);
  TrainingOptions options;
  options.losses = {{"loss", 1}};
  build_gradients(b.graph, options);
  RewriteLog log;
  use_half_precision(b.graph, log, [](const auto&...) { return true; });
  b.graph.verify();
  std::size_t norms = 0;
  const auto expect_halves = [&](const std::vector<ValueId>& values, std::size_t count) {
    for (std::size_t i = 0; i < values.size(); ++i)
      EXPECT_EQ(b.graph.value(values[i]).desc.dtype, i < count ? DType::f16 : DType::f32) << i;
  };
  for (const Node& node : b.graph.nodes()) {
    const bool is_forward = node.op.as<BatchNormTraining>(), is_backward = node.op.as<BatchNormGrad>();
    if (!is_forward && !is_backward && node.op.as<RunningStatistics>() == nullptr) continue;
    ++norms;
    SCOPED_TRACE(node.name);
    expect_halves(node.src, is_forward ? 1 : is_backward ? 2 : 0);
    expect_halves(node.dst, is_forward || is_backward ? 1 : 0);
  }
  EXPECT_EQ(norms, 3u);
}

}  // namespace
}  // namespace maru
