#include <gtest/gtest.h>

#include "base/error.h"
#include "ops/cast.h"
#include "ops/concat.h"
#include "ops/eltwise.h"
#include "ops/lrn.h"
#include "ops/pool.h"
#include "ops/preprocess.h"
#include "ops/reshape.h"
#include "ops/slice.h"
#include "ops/softmax.h"
#include "rewrite/test_graphs.h"

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

}  // namespace
}  // namespace maru::rewrite_tests
