#include <gtest/gtest.h>

#include <algorithm>

#include "base/error.h"
#include "ops/cast.h"
#include "ops/concat.h"
#include "ops/eltwise.h"
#include "ops/identity.h"
#include "ops/inner_product.h"
#include "ops/loss.h"
#include "ops/lrn.h"
#include "ops/pool.h"
#include "ops/preprocess.h"
#include "ops/reshape.h"
#include "ops/slice.h"
#include "ops/softmax.h"
#include "rewrite/test_graphs.h"
#include "rewrite/training.h"

namespace maru::rewrite_tests {
namespace {

// Everything but operators of these names.
Offered all_but(std::vector<std::string> names) {
  return [names](const Op& op, Descs src, Descs dst, std::span<const bool> constant) {
    for (std::size_t i = 0; i < src.size(); ++i) {
      EXPECT_TRUE(!constant[i] || src[i].dtype == DType::f32) << op.name();
    }
    EXPECT_FALSE(dst.empty());
    return std::ranges::find(names, op.name()) == names.end();
  };
}

// The graph, each node with the types of its operands and results.
std::string typed(const Graph& graph) {
  std::string text;
  const auto list = [&](const std::vector<ValueId>& ids) {
    std::string joined;
    for (const ValueId id : ids) {
      const Value& value = graph.value(id);
      if (value.constant) continue;
      joined +=
          fmt::format("{}{}:{}", joined.empty() ? "" : " ", value.name, to_string(value.desc.dtype));
    }
    return joined;
  };
  for (const Node& node : graph.nodes())
    text += fmt::format("{} = {}({})\n", list(node.dst), node.op.name(), list(node.src));
  return text + list(graph.outputs);
}

Graph halved(Graph graph, const Offered& is_offered, RewriteLog* log = nullptr) {
  const Graph before = graph;
  RewriteLog own;
  use_half_precision(graph, log ? *log : own, is_offered);
  expect_same_outputs(before, graph, 0);  // the reference does not round to halves
  return graph;
}

TEST(HalfPrecision, CastsAtInputsAndOutputs) {
  Builder b;
  const ValueId c = b.add("conv", conv(4), {b.input("data", {1, 3, 5, 5})});
  b.output(b.add("pool", Pool{Pool::Kind::max, {}, true}, {c}));
  RewriteLog log;
  EXPECT_EQ(typed(halved(b.graph, all_but({}), &log)),
            "data.f16:f16 = cast(data:f32)\n"
            "conv:f16 = conv(data.f16:f16)\n"
            "pool.f16:f16 = pool(conv:f16)\n"
            "pool:f32 = cast(pool.f16:f16)\n"
            "pool:f32");
  EXPECT_EQ(text(log), "half precision in 2 of 2 layers");
}

TEST(HalfPrecision, LeavesSingleWhatIsNotOffered) {
  Builder b;
  const ValueId c = b.add("conv", conv(4), {b.input("data", {1, 3, 5, 5})});
  const ValueId n = b.add("norm", Lrn{}, {c});
  const ValueId m = b.add("norm2", Lrn{}, {c});
  b.output(b.add("sum", Eltwise{}, {n, m}));
  RewriteLog log;
  EXPECT_EQ(typed(halved(b.graph, all_but({"lrn"}), &log)),
            "data.f16:f16 = cast(data:f32)\n"
            "conv:f16 = conv(data.f16:f16)\n"
            "conv.f32:f32 = cast(conv:f16)\n"  // once for both
            "norm:f32 = lrn(conv.f32:f32)\n"
            "norm.f16:f16 = cast(norm:f32)\n"
            "norm2:f32 = lrn(conv.f32:f32)\n"
            "norm2.f16:f16 = cast(norm2:f32)\n"
            "sum.f16:f16 = eltwise(norm.f16:f16 norm2.f16:f16)\n"
            "sum:f32 = cast(sum.f16:f16)\n"
            "sum:f32");
  EXPECT_EQ(text(log),
            "lrn norm stays in single precision: no kernel for f16\n"
            "lrn norm2 stays in single precision: no kernel for f16\n"
            "half precision in 2 of 4 layers");
}

TEST(HalfPrecision, LeavesAGraphAloneThatHasNoKernelForIt) {
  Builder b;
  const ValueId c = b.add("conv", conv(4), {b.input("data", {1, 3, 5, 5})});
  b.output(b.add("join", Concat{}, {c, c}));
  Graph graph = b.graph;
  RewriteLog log;
  EXPECT_FALSE(use_half_precision(graph, log, all_but({"conv"})));
  EXPECT_EQ(graph.print(), b.graph.print());
}

TEST(HalfPrecision, ViewsFollowTheirOperands) {
  Builder b;
  const ValueId data = b.input("data", {1, 4, 5, 5});
  const auto parts = b.graph.node(b.node("parts", Slice{1, {}, 2}, {data}, {"low", "high"})).dst;
  const ValueId c = b.add("conv", conv(4), {parts[0]});
  b.output(b.add("join", Concat{}, {c, parts[1]}));
  EXPECT_EQ(typed(halved(b.graph, all_but({}))),
            "low:f32 high:f32 = slice(data:f32)\n"
            "low.f16:f16 = cast(low:f32)\n"
            "conv:f16 = conv(low.f16:f16)\n"
            "high.f16:f16 = cast(high:f32)\n"
            "join.f16:f16 = concat(conv:f16 high.f16:f16)\n"
            "join:f32 = cast(join.f16:f16)\n"
            "join:f32");
}

TEST(HalfPrecision, FoldsCastsIntoPreprocessingAndSoftmax) {
  Builder b;
  const ValueId pixels = b.graph.add_input("pixels", {DType::u8, {1, 4096}, Layout::plain()});
  const ValueId frames = b.graph.add_input("frames", {DType::i32, {1, 4}, Layout::plain()});
  const ValueId data =
      b.graph.node(b.graph.add_node("preprocess", Preprocess{8, 8}, {pixels, frames}, {"data"})).dst[0];
  b.output(b.add("prob", Softmax{}, {b.add("conv", conv(4), {data})}));
  Graph graph = b.graph;
  RewriteLog log;
  use_half_precision(graph, log, all_but({}));
  EXPECT_EQ(typed(graph),
            "data.f16:f16 = preprocess(pixels:u8 frames:i32)\n"
            "conv:f16 = conv(data.f16:f16)\n"
            "prob:f32 = softmax(conv:f16)\n"
            "prob:f32");
  EXPECT_EQ(text(log),
            "half precision in 2 of 3 layers\n"
            "folded cast data.f16 into preprocess\n"
            "folded cast prob.f32 into prob");
  EXPECT_NO_THROW(graph.verify());
}

TEST(HalfPrecision, KeepsTheDigitsOfLogits) {
  Builder b;
  const ValueId c = b.add("conv", conv(4), {b.input("data", {1, 3, 5, 5})});
  const ValueId p = b.add("pool", Pool{Pool::Kind::average, {}, true}, {c});
  b.output(b.add("prob", Softmax{}, {b.add("flat", Flatten{}, {p})}));
  RewriteLog log;
  EXPECT_EQ(typed(halved(b.graph, all_but({}), &log)),
            "data.f16:f16 = cast(data:f32)\n"
            "conv:f16 = conv(data.f16:f16)\n"
            "conv.f32:f32 = cast(conv:f16)\n"
            "pool:f32 = pool(conv.f32:f32)\n"
            "flat:f32 = flatten(pool:f32)\n"
            "prob:f32 = softmax(flat:f32)\n"
            "prob:f32");
  EXPECT_EQ(text(log),
            "pool pool stays in single precision: scores come of it\n"
            "softmax prob stays in single precision: scores come of it\n"
            "half precision in 1 of 4 layers");
}

TEST(HalfPrecision, KeepsCastsOfWhatSomebodyElseReads) {
  Builder b;
  const ValueId c = b.add("conv", conv(4), {b.input("data", {1, 3, 5, 5})});
  const ValueId s = b.add("prob", Softmax{}, {c});
  b.output(s);
  b.output(b.add("twice", Eltwise{}, {s, c}));
  EXPECT_EQ(typed(halved(b.graph, all_but({}))),
            "data.f16:f16 = cast(data:f32)\n"
            "conv:f16 = conv(data.f16:f16)\n"
            "prob.f16:f16 = softmax(conv:f16)\n"
            "prob:f32 = cast(prob.f16:f16)\n"
            "twice.f16:f16 = eltwise(prob.f16:f16 conv:f16)\n"
            "twice:f32 = cast(twice.f16:f16)\n"
            "prob:f32 twice:f32");
}

TEST(HalfPrecision, DropsCastsThatDoNothing) {
  Builder b;
  const ValueId data = b.input("data", {1, 3, 5, 5});
  const ValueId half = b.add("half", Cast{DType::f16}, {data});
  const ValueId again = b.add("again", Cast{DType::f16}, {data});
  const ValueId same = b.add("same", Cast{DType::f16}, {half});
  const ValueId back = b.add("back", Cast{DType::f32}, {again});
  const ValueId sum = b.add("sum", Eltwise{}, {same, again});
  b.output(b.add("out", Cast{}, {sum}));
  b.output(b.add("conv", conv(4), {back}));
  Graph graph = b.graph;
  RewriteLog log;
  EXPECT_TRUE(fold_casts(graph, log, all_but({})));
  EXPECT_EQ(typed(graph),
            "half:f16 = cast(data:f32)\n"
            "sum:f16 = eltwise(half:f16 half:f16)\n"
            "out:f32 = cast(sum:f16)\n"
            "conv:f32 = conv(data:f32)\n"
            "out:f32 conv:f32");
  expect_same_outputs(b.graph, graph, 0);
  EXPECT_FALSE(fold_casts(graph, log, all_but({})));
}

TEST(HalfPrecision, TwiceIsOnce) {
  Builder b;
  const ValueId c = b.add("conv", conv(4), {b.input("data", {1, 3, 5, 5})});
  b.output(b.add("norm", Lrn{}, {c}));
  const Graph once = halved(b.graph, all_but({"lrn"}));
  EXPECT_EQ(typed(halved(once, all_but({"lrn"}))), typed(once));
}

// A convolution, dropout, a classifier and its loss, with their gradients.
Graph gradients(bool accumulate, double weight = 1) {
  Builder b;
  const ValueId label = b.input("label", {2});
  ValueId at = b.add("conv", conv(4, 3, 1), {b.input("data", {2, 3, 5, 5})});
  at = b.add("drop", Identity{Identity::Reason::dropout, 1, 0.5}, {at});
  at = b.add("classes", InnerProduct{3}, {at});
  b.output(b.graph.node(b.node("loss", SoftmaxLoss{}, {at, label}, {"loss", "shares"})).dst[0]);
  TrainingOptions options;
  options.losses = {{"loss", weight}};
  options.accumulate = accumulate;
  options.scaled = true;
  build_gradients(b.graph, options);
  return b.graph;
}

// Of labels that are classes; what outputs and states then are.
std::vector<std::vector<double>> results_of(const Graph& graph) {
  Random random(7);
  std::vector<std::vector<double>> inputs, results;
  for (const ValueId id : graph.inputs) {
    const std::string& name = graph.value(id).name;
    inputs.push_back(uniform_values(random, graph.value(id).desc.count()));
    if (name == "label") inputs.back() = {2, 0};
    if (name == "step") inputs.back() = {2049};  // no half
    if (name == "loss scale") inputs.back() = {65536};
  }
  for (const State& state : graph.states)
    inputs.push_back(uniform_values(random, graph.value(state.begin).desc.count()));
  const auto values = interpret<double>(graph, inputs);
  for (const ValueId id : graph.outputs) results.push_back(values[static_cast<std::size_t>(id)]);
  for (const State& state : graph.states)
    results.push_back(values[static_cast<std::size_t>(state.end)]);
  return results;
}

Graph halved_gradients(Graph graph, const Offered& is_offered, RewriteLog* log = nullptr) {
  const auto wanted = results_of(graph);
  RewriteLog own;
  use_half_precision(graph, log ? *log : own, is_offered);
  EXPECT_NO_THROW(graph.verify());
  EXPECT_EQ(results_of(graph), wanted);
  for (const State& state : graph.states) {
    EXPECT_EQ(graph.value(state.begin).desc.dtype, DType::f32);
    EXPECT_EQ(graph.value(state.end).desc.dtype, DType::f32);
  }
  return graph;
}

TEST(HalfPrecisionInTraining, KeepsLossesAndStatesSingle) {
  RewriteLog log;
  EXPECT_EQ(typed(halved_gradients(gradients(false), all_but({}), &log)),
            "data.f16:f16 = cast(data:f32)\n"
            "conv/weight.f16:f16 = cast(conv/weight:f32)\n"
            "conv:f16 = conv(data.f16:f16 conv/weight.f16:f16 conv/bias:f32)\n"
            "drop:f16 = dropout(conv:f16 step:f32)\n"
            "classes/weight.f16:f16 = cast(classes/weight:f32)\n"
            "classes:f16 = inner_product(drop:f16 classes/weight.f16:f16 classes/bias:f32)\n"
            "classes.f32:f32 = cast(classes:f16)\n"
            "loss:f32 shares:f32 = softmax_loss(classes.f32:f32 label:f32)\n"
            "loss/gradient:f32 = softmax_loss_grad(shares:f32 label:f32 loss scale:f32)\n"
            "loss/gradient.f16:f16 = cast(loss/gradient:f32)\n"
            "classes/weight gradient:f32 = "
            "inner_product_grad_weight(drop:f16 loss/gradient.f16:f16)\n"
            "classes/bias gradient:f32 = reduce(loss/gradient.f16:f16)\n"
            "classes/data gradient:f16 = "
            "inner_product_grad_data(loss/gradient.f16:f16 classes/weight.f16:f16)\n"
            "drop/gradient:f16 = dropout(classes/data gradient:f16 step:f32)\n"
            "conv/weight gradient:f32 = conv_grad_weight(data.f16:f16 drop/gradient:f16)\n"
            "conv/bias gradient:f32 = reduce(drop/gradient:f16)\n"
            "loss:f32");
  EXPECT_EQ(text(log), "half precision in 9 of 11 layers");
}

TEST(HalfPrecisionInTraining, SumsOfGradientsAreSingle) {
  RewriteLog log;
  const std::string nodes = typed(halved_gradients(gradients(true, 0.25), all_but({}), &log));
  for (const char* sum : {"conv/weight", "conv/bias", "classes/weight", "classes/bias"}) {
    const std::string line = fmt::format(
        "{0}/gradient accumulated:f32 = eltwise({0}/gradient:f32 {0} gradient.f32:f32)\n", sum);
    EXPECT_NE(nodes.find(line), std::string::npos) << nodes;
  }
  EXPECT_LT(nodes.find("classes/weight/gradient accumulated"), nodes.find("conv/weight gradient"))
      << "memory is held longer than it must be";
  EXPECT_NE(nodes.find("loss/loss weight:f32 = unary(loss scale:f32)\n"), std::string::npos) << nodes;
  EXPECT_NE(text(log).find("unary loss/loss weight stays in single precision: a single number\n"),
            std::string::npos);
  EXPECT_NE(text(log).find("eltwise conv/weight/gradient accumulated stays in single precision: a "
                           "state is summed of it\n"),
            std::string::npos);
}

// Devices differ in what they offer.
TEST(HalfPrecisionInTraining, TakesWhatIsOffered) {
  const Offered alike = [](const Op& op, Descs src, Descs dst, std::span<const bool> constant) {
    const bool is_mixed =
        std::ranges::any_of(src, [&](const TensorDesc& desc) { return desc.dtype != src[0].dtype; });
    return op.name() == "dropout" || !is_mixed ? all_but({})(op, src, dst, constant) : false;
  };
  const std::string biases = typed(halved_gradients(gradients(false), alike));
  EXPECT_NE(biases.find("conv:f16 = conv(data.f16:f16 conv/weight.f16:f16 conv/bias.f16:f16)\n"),
            std::string::npos)
      << biases;
  const Offered widening = [](const Op& op, Descs src, Descs dst, std::span<const bool> constant) {
    return all_but({})(op, src, dst, constant) &&
           (op.name() != "conv_grad_weight" || dst[0].dtype == DType::f32);
  };
  EXPECT_EQ(typed(halved_gradients(gradients(false), widening)),
            typed(halved_gradients(gradients(false), all_but({}))));
  const Offered narrow = [](const Op& op, Descs src, Descs dst, std::span<const bool> constant) {
    return all_but({})(op, src, dst, constant) &&
           (op.name() != "conv_grad_weight" || dst[0].dtype == src[0].dtype);
  };
  const std::string casts = typed(halved_gradients(gradients(false), narrow));
  EXPECT_NE(casts.find("conv/weight gradient:f32 = cast(conv/weight gradient.f16:f16)\n"),
            std::string::npos)
      << casts;
}

// On the way to the loss, as on the way to a softmax; the way back is in halves.
TEST(HalfPrecisionInTraining, KeepsTheDigitsOfLogits) {
  Builder b;
  const ValueId label = b.input("label", {2});
  ValueId at = b.add("conv", conv(4), {b.input("data", {2, 3, 5, 5})});
  at = b.add("pool", Pool{Pool::Kind::average, {}, true}, {at});
  b.output(b.graph.node(b.node("loss", SoftmaxLoss{}, {at, label}, {"loss", "shares"})).dst[0]);
  TrainingOptions options;
  options.losses = {{"loss", 1}};
  options.scaled = true;
  build_gradients(b.graph, options);
  EXPECT_EQ(typed(halved_gradients(b.graph, all_but({}))),
            "data.f16:f16 = cast(data:f32)\n"
            "conv/weight.f16:f16 = cast(conv/weight:f32)\n"
            "conv:f16 = conv(data.f16:f16 conv/weight.f16:f16 conv/bias:f32)\n"
            "conv.f32:f32 = cast(conv:f16)\n"
            "pool:f32 = pool(conv.f32:f32)\n"
            "loss:f32 shares:f32 = softmax_loss(pool:f32 label:f32)\n"
            "loss/gradient:f32 = softmax_loss_grad(shares:f32 label:f32 loss scale:f32)\n"
            "loss/gradient.f16:f16 = cast(loss/gradient:f32)\n"
            "pool/gradient:f16 = pool_grad(loss/gradient.f16:f16)\n"
            "conv/weight gradient:f32 = conv_grad_weight(data.f16:f16 pool/gradient:f16)\n"
            "conv/bias gradient:f32 = reduce(pool/gradient:f16)\n"
            "loss:f32");
}

// A layer that is frozen between trained ones: its weights are constants, of which there are none in
// f16.
TEST(HalfPrecisionInTraining, GoesBackThroughFrozenLayers) {
  Builder b;
  const ValueId label = b.input("label", {2});
  ValueId at = b.add("first", conv(4), {b.input("data", {2, 3, 5, 5})});
  at = b.add("frozen", conv(4), {at});
  at = b.add("classes", InnerProduct{3}, {at});
  b.output(b.graph.node(b.node("loss", SoftmaxLoss{}, {at, label}, {"loss", "shares"})).dst[0]);
  TrainingOptions options;
  options.losses = {{"loss", 1}};
  options.rates = [](std::string_view name) {
    return std::pair{name.starts_with("frozen") ? 0.0 : 1.0, 1.0};
  };
  build_gradients(b.graph, options);
  const std::string nodes = typed(halved_gradients(b.graph, all_but({})));
  EXPECT_NE(nodes.find("frozen:f16 = conv(first:f16)\n"), std::string::npos) << nodes;
  EXPECT_NE(nodes.find("frozen/data gradient:f16 = conv_grad_data(classes/data gradient:f16)\n"),
            std::string::npos)
      << nodes;
}

}  // namespace
}  // namespace maru::rewrite_tests
