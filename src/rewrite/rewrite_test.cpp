#include "rewrite/rewrite.h"

#include "ops/batch_norm.h"
#include "ops/bias.h"
#include "ops/concat.h"
#include "ops/eltwise.h"
#include "ops/identity.h"
#include "ops/inner_product.h"
#include "ops/lrn.h"
#include "ops/pool.h"
#include "ops/pool_lrn.h"
#include "ops/reshape.h"
#include "ops/scale.h"
#include "rewrite/test_graphs.h"

namespace maru {
namespace {

using namespace rewrite_tests;

// Runs one pass on the builder's graph, checks that outputs stay, and gives the graph as text without
// its first line.
template <class Pass>
std::string after(const Builder& builder, Pass&& pass, std::string* log_text = nullptr,
                  double tolerance = 1e-9) {
  Graph graph = builder.graph;
  RewriteLog log;
  const bool changed = pass(graph, log);
  EXPECT_EQ(changed, !log.lines.empty());
  expect_same_outputs(builder.graph, graph, tolerance);
  if (log_text) *log_text = text(log);
  const std::string printed = graph.print();
  return printed.substr(printed.find('\n') + 1);
}

std::string folded(const Builder& builder, std::string* log = nullptr) {
  return after(builder, fold_affine, log, 1e-5);
}
std::string fused(const Builder& builder, std::string* log = nullptr) {
  return after(
      builder, [](Graph& graph, RewriteLog& to) { return fuse_activations(graph, to); }, log);
}
std::string merged(const Builder& builder, std::string* log = nullptr, std::size_t least = 2,
                   std::int64_t alignment = 1) {
  return after(
      builder,
      [&](Graph& graph, RewriteLog& to) { return merge_siblings(graph, to, least, alignment); }, log);
}

const Unary kRelu{};

TEST(DropIdentities, DropoutSplitAndEmptyOnes) {
  Builder b;
  const ValueId data = b.input("data", {1, 4, 3, 3});
  const NodeId split =
      b.node("split", Identity{Identity::Reason::split, 2}, {data}, {"data_0", "data_1"});
  const ValueId pooled = b.add("pool", Pool{Pool::Kind::max, Window{}}, {b.graph.node(split).dst[0]});
  const ValueId linear =
      b.add("power", Unary{Unary::Kind::power, 1, 1, 0}, {b.graph.node(split).dst[1]});
  const ValueId joined = b.add("join", Concat{}, {pooled, linear});
  const ValueId one = b.add("one", Concat{}, {joined});
  const ValueId dropped = b.add("drop", Identity{}, {one}, "one");
  const ValueId same = b.add("same", Reshape{{0, 8, -1, 3}}, {dropped});
  b.output(b.add("relu", kRelu, {same}));
  std::string log;
  EXPECT_EQ(after(b, drop_identities, &log),
            "  input data: f32 1x4x3x3\n"
            "  join = concat(data, data): 1x8x3x3\n"
            "  relu = unary(join): 1x8x3x3\n"
            "  output relu\n");
  EXPECT_EQ(log,
            "dropped split split\ndropped pool pool\ndropped unary power\ndropped concat one\n"
            "dropped dropout drop\ndropped reshape same");
}

TEST(DropIdentities, AnOutputKeepsItsNameAndBothOutputsStay) {
  Builder b;
  const ValueId data = b.input("data", {1, 4});
  b.output(b.add("copy", Identity{}, {data}));  // of an input
  const ValueId relu = b.add("relu", kRelu, {data});
  const NodeId split = b.node("split", Identity{Identity::Reason::split, 3}, {relu}, {"a", "b", "c"});
  const auto parts = b.graph.node(split).dst;
  b.output(parts[1]);
  b.output(parts[2]);
  b.output(b.add("tanh", Unary{Unary::Kind::tanh}, {parts[0]}));
  EXPECT_EQ(after(b, drop_identities),
            "  input data: f32 1x4\n"
            "  copy = identity(data): 1x4\n"
            "  b = unary(data): 1x4\n"
            "  c = identity(b) reason=split: 1x4\n"
            "  tanh = unary(b) kind=tanh: 1x4\n"
            "  output copy, b, c, tanh\n");
}

TEST(DropIdentities, InnerProductReadsThroughFlatten) {
  Builder b;
  const ValueId data = b.input("data", {2, 4, 3, 3});
  const ValueId flat = b.add("flat", Flatten{}, {data});
  b.output(b.add("ip", InnerProduct{5}, {flat}));
  b.output(b.add("rows", InnerProduct{5, 2}, {b.add("shaped", Reshape{{0, 4, 9}}, {data})}));
  // Other rows than the operand has: the reshape is needed.
  b.output(b.add("other", InnerProduct{5}, {b.add("pairs", Reshape{{4, -1}}, {data})}));
  // An axis that the reshape makes.
  const ValueId rows = b.input("rows in", {2, 12});
  b.output(b.add("deep", InnerProduct{5, 2}, {b.add("made", Reshape{{0, 3, 4}}, {rows})}));
  EXPECT_EQ(after(b, drop_identities),
            "  input data: f32 2x4x3x3\n"
            "  input rows in: f32 2x12\n"
            "  ip = inner_product(data, ip/weight, ip/bias) outputs=5: 2x5\n"
            "  rows = inner_product(data, rows/weight, rows/bias) outputs=5 axis=2: 2x4x5\n"
            "  pairs = reshape(data) dims=[4,-1]: 4x18\n"
            "  other = inner_product(pairs, other/weight, other/bias) outputs=5: 4x5\n"
            "  made = reshape(rows in) dims=[0,3,4]: 2x3x4\n"
            "  deep = inner_product(made, deep/weight, deep/bias) outputs=5 axis=2: 2x3x5\n"
            "  output ip, rows, other, deep\n");
}

TEST(FoldAffine, BehindConv) {
  Builder b;
  const ValueId data = b.input("data", {2, 4, 3, 3});
  ValueId x = b.add("conv", Conv{6, Window{{3, 3}, {1, 1}, {1, 1}, {1, 1}}, 2, false}, {data});
  x = b.add("bn", BatchNorm{}, {x}, "conv");
  x = b.add("scale", Scale{1, 1, true}, {x}, "conv");
  x = b.add("power", Unary{Unary::Kind::power, 1, 0.5, 3}, {x}, "conv");
  x = b.add("bias", Bias{}, {x}, "biased");
  b.output(b.add("relu", kRelu, {x}, "biased"));
  std::string log;
  EXPECT_EQ(folded(b, &log),
            "  input data: f32 2x4x3x3\n"
            "  biased = conv(data, conv/weight+bn+scale+power+bias, conv/bias+bn+scale+power+bias)"
            " outputs=6 kernel=3x3 pad=1x1 group=2: 2x6x3x3\n"
            "  biased = unary(biased): 2x6x3x3\n"
            "  output biased\n");
  EXPECT_EQ(log,
            "folded batch_norm bn into conv\nfolded scale scale into conv\n"
            "folded unary power into conv\nfolded bias bias into conv");
}

TEST(FoldAffine, OutputsAndActivationsAndOtherReadersBlock) {
  Builder b;
  const ValueId data = b.input("data", {1, 4, 3, 3});
  const ValueId asked = b.add("asked", conv(4), {data});
  b.output(asked);
  b.output(b.add("scale1", Scale{}, {asked}));
  Conv active = conv(4);
  active.activation = kRelu;
  b.output(b.add("scale2", Scale{}, {b.add("active", active, {data})}));
  const ValueId shared = b.add("shared", conv(4), {data});
  b.output(b.add("scale3", Scale{}, {shared}));
  b.output(b.add("tanh", Unary{Unary::Kind::tanh}, {shared}));
  // Along the width; and by data.
  b.output(b.add("scale4", Scale{3}, {b.add("wide", conv(4), {data})}));
  b.output(b.add("scale5", Scale{0, -1}, {b.add("alone", conv(4), {data}), data}));
  std::string log;
  folded(b, &log);
  EXPECT_EQ(log, "");
}

TEST(FoldAffine, InnerProduct) {
  for (const bool transpose : {false, true}) {
    Builder b;
    const ValueId data = b.input("data", {2, 4, 3, 3});
    InnerProduct product{5, 1, false, transpose};
    ValueId x = b.add("before", Scale{1, 1, true}, {data});
    x = b.add("ip", product, {x});
    b.output(b.add("bn", BatchNorm{}, {x}));
    // Outputs on the last axis of three: axis 1 is not theirs, but a number is everybody's.
    product.axis = 3;
    x = b.add("power", Unary{Unary::Kind::power, 1, 2, 1}, {b.add("rows", product, {data})});
    b.output(b.add("scale", Scale{}, {x}));
    EXPECT_EQ(folded(b),
              fmt::format("  input data: f32 2x4x3x3\n"
                          "  bn = inner_product(data, ip/weight+bn+before, ip/bias+bn+before)"
                          " outputs=5{0}: 2x5\n"
                          "  power = inner_product(data, rows/weight+power, rows/bias+power)"
                          " outputs=5 axis=3{0}: 2x4x3x5\n"
                          "  scale = scale(power, scale/scale): 2x4x3x5\n"
                          "  output bn, scale\n",
                          transpose ? " transpose=yes" : ""));
  }
}

TEST(FoldAffine, BeforeConvOnlyWhereExact) {
  Builder b;
  const ValueId data = b.input("data", {2, 4, 5, 5});
  Conv grouped = conv(6, 3);
  grouped.group = 2;
  b.output(b.add("bare", grouped, {b.add("bn1", BatchNorm{}, {data})}));
  b.output(b.add("padded", conv(6, 3, 1), {b.add("bn2", BatchNorm{}, {data})}));
  b.output(b.add("unshifted", conv(6, 3, 1, false), {b.add("scale", Scale{}, {data})}));
  const ValueId shifted = b.add("bias", Bias{}, {data});
  b.output(
      b.add("partly", conv(6, 3, 1), {b.add("twice", Unary{Unary::Kind::power, 1, 2}, {shifted})}));
  std::string log;
  EXPECT_EQ(
      folded(b, &log),
      "  input data: f32 2x4x5x5\n"
      "  bare = conv(data, bare/weight+bn1, bare/bias+bn1) outputs=6 kernel=3x3 group=2: 2x6x3x3\n"
      "  bn2 = scale(data, bn2/scale, bn2/bias) bias=yes: 2x4x5x5\n"
      "  padded = conv(bn2, padded/weight, padded/bias) outputs=6 kernel=3x3 pad=1x1: 2x6x5x5\n"
      "  unshifted = conv(data, unshifted/weight+scale) outputs=6 kernel=3x3 pad=1x1 bias=no:"
      " 2x6x5x5\n"
      "  bias = bias(data, bias/bias): 2x4x5x5\n"
      "  partly = conv(bias, partly/weight+twice, partly/bias) outputs=6 kernel=3x3 pad=1x1:"
      " 2x6x5x5\n"
      "  output bare, padded, unshifted, partly\n");
  EXPECT_NE(log.find("turned batch_norm bn2 into a scale"), std::string::npos);
}

TEST(FoldAffine, ChainsWithoutConv) {
  Builder b;
  const ValueId data = b.input("data", {2, 4, 3, 3});
  ValueId x = b.add("bn", BatchNorm{}, {data});
  x = b.add("scale", Scale{1, 1, true}, {x});
  b.output(b.add("sum", Bias{}, {x}));
  x = b.add("p", Unary{Unary::Kind::power, 1, 2, 1}, {data});
  b.output(b.add("q", Scale{1, 0, false}, {x}));
  std::string log;
  const std::string printed = folded(b, &log);
  EXPECT_NE(
      printed.find("  sum = scale(data, bn+scale+sum/scale, bn+scale+sum/bias) bias=yes: 2x4x3x3\n"),
      std::string::npos)
      << printed;
  EXPECT_NE(printed.find("  q = unary(data) kind=power alpha=1 "), std::string::npos) << printed;
  EXPECT_EQ(log, "composed bn+scale+sum into one scale\ncomposed p+q into one unary");
}

TEST(FoldAffine, SharedConstantsStayAsTheyAre) {
  Builder b;
  const ValueId data = b.input("data", {1, 4, 3, 3});
  const ValueId first = b.add("first", conv(4), {data});
  const auto params = b.graph.node(*b.graph.value(first).producer).src;
  b.output(b.add("bn", BatchNorm{}, {first}));
  b.output(b.add("second", conv(4), {data, params[1], params[2]}));
  EXPECT_EQ(folded(b),
            "  input data: f32 1x4x3x3\n"
            "  bn = conv(data, first/weight+bn, first/bias+bn) outputs=4: 1x4x3x3\n"
            "  second = conv(data, first/weight, first/bias) outputs=4: 1x4x3x3\n"
            "  output bn, second\n");
}

TEST(FoldAffine, LeavesWhatIsNotFinite) {
  Builder b;
  const ValueId data = b.input("data", {1, 2, 3, 3});
  const ValueId x = b.add("conv", conv(2), {data});
  std::vector<ValueId> src{x};
  const std::vector<float> values[] = {{0, 0}, {0, -1}, {1}};
  for (const auto& value : values) {
    const Shape shape{static_cast<std::int64_t>(value.size())};
    src.push_back(b.graph.add_constant("bn", std::make_shared<const Constant>(shape, value)));
  }
  b.output(b.add("bn", BatchNorm{0}, src));
  RewriteLog log;
  EXPECT_FALSE(fold_affine(b.graph, log));
}

TEST(FuseActivations, IntoConvInnerProductAndEltwise) {
  Builder b;
  const ValueId data = b.input("data", {1, 4, 3, 3});
  const ValueId a = b.add("conv1/relu", kRelu, {b.add("conv1", conv(4), {data})}, "conv1");
  const ValueId e = b.add("elu", Unary{Unary::Kind::elu, 1}, {b.add("conv2", conv(4), {data})});
  const ValueId sum = b.add("sum_relu", kRelu, {b.add("sum", Eltwise{}, {a, e})}, "sum");
  b.output(b.add("sigmoid", Unary{Unary::Kind::sigmoid}, {b.add("ip", InnerProduct{3}, {sum})}));
  std::string log;
  EXPECT_EQ(fused(b, &log),
            "  input data: f32 1x4x3x3\n"
            "  conv1 = conv(data, conv1/weight, conv1/bias) outputs=4 activation=relu: 1x4x3x3\n"
            "  elu = conv(data, conv2/weight, conv2/bias) outputs=4"
            " activation=elu(alpha=1): 1x4x3x3\n"
            "  sum = eltwise(conv1, elu) activation=relu: 1x4x3x3\n"
            "  sigmoid = inner_product(sum, ip/weight, ip/bias) outputs=3"
            " activation=sigmoid: 1x3\n"
            "  output sigmoid\n");
  EXPECT_EQ(log,
            "fused relu conv1/relu into conv1\nfused elu elu into conv2\n"
            "fused relu sum_relu into sum\nfused sigmoid sigmoid into ip");
}

TEST(FuseActivations, NotTwiceNorOverAnOutputNorWhatThePredicateRefuses) {
  Builder b;
  const ValueId data = b.input("data", {1, 4, 3, 3});
  const ValueId asked = b.add("asked", conv(4), {data});
  b.output(asked);
  const ValueId relu = b.add("relu", kRelu, {asked}, "asked");
  b.output(relu);
  b.output(b.add("abs", Unary{Unary::Kind::abs}, {b.add("plain", conv(4), {data})}));
  Conv active = conv(4);
  active.activation = kRelu;
  b.output(b.add("tanh", Unary{Unary::Kind::tanh}, {b.add("active", active, {data})}));
  std::string log;
  fused(b, &log);
  EXPECT_EQ(log, "");
  after(
      b,
      [](Graph& g, RewriteLog& to) {
        return fuse_activations(g, to, [](const Unary&) { return true; });
      },
      &log);
  EXPECT_EQ(log, "fused abs abs into plain");
}

// One inception block of GoogLeNet with these numbers of outputs.
Builder inception(std::int64_t one, std::int64_t reduce3, std::int64_t reduce5, bool relus) {
  Builder b;
  const ValueId data = b.input("data", {1, 32, 4, 4});
  const auto layer = [&](const std::string& name, const Conv& op, ValueId src) {
    const ValueId result = b.add("i/" + name, op, {src});
    return relus ? b.add("i/relu_" + name, kRelu, {result}, "i/" + name) : result;
  };
  const ValueId a = layer("1x1", conv(one), data);
  const ValueId c = layer("3x3", conv(8, 3, 1), layer("3x3_reduce", conv(reduce3), data));
  const ValueId e = layer("5x5", conv(8, 5, 2), layer("5x5_reduce", conv(reduce5), data));
  Pool pool{Pool::Kind::max, Window{{3, 3}, {1, 1}, {1, 1}, {1, 1}}};
  const ValueId p = layer("pool_proj", conv(4), b.add("i/pool", pool, {data}));
  b.output(b.add("i/output", Concat{}, {a, c, e, p}));
  return b;
}

TEST(MergeSiblings, InceptionPutsTheFirstOfTheConcatLast) {
  std::string log;
  const std::string printed = merged(inception(16, 24, 8, false), &log);
  EXPECT_NE(
      printed.find("  i/1x1+3x3_reduce+5x5_reduce = conv(data, i/1x1+3x3_reduce+5x5_reduce/weight,"
                   " i/1x1+3x3_reduce+5x5_reduce/bias) outputs=48: 1x48x4x4\n"
                   "  i/3x3_reduce, i/5x5_reduce, i/1x1 = slice(i/1x1+3x3_reduce+5x5_reduce)"
                   " points=[24,32] outputs=3: 1x24x4x4 1x8x4x4 1x16x4x4\n"),
      std::string::npos)
      << printed;
  EXPECT_EQ(log, "merged 3 convolutions into i/1x1+3x3_reduce+5x5_reduce");
  merged(inception(16, 24, 8, false), &log, 4);
  EXPECT_EQ(log, "");
  merged(inception(16, 24, 8, false), &log, 0);
  EXPECT_EQ(log, "");
}

TEST(MergeSiblings, AlignmentFillsUpWithUnusedChannels) {
  const std::string printed = merged(inception(16, 8, 16, false), nullptr, 2, 16);
  EXPECT_NE(printed.find("  i/5x5_reduce, i/3x3_reduce, i/1x1+3x3_reduce+5x5_reduce/unused2, i/1x1 ="
                         " slice(i/1x1+3x3_reduce+5x5_reduce) points=[16,24,32] outputs=4:"),
            std::string::npos)
      << printed;
}

TEST(MergeSiblings, OnlyAlikeOnesAndTheLastOfTheConcatFirst) {
  Builder b;
  const ValueId data = b.input("data", {2, 4, 3, 3});
  const ValueId a = b.add("a", conv(2), {data});
  const ValueId c = b.add("c", conv(3), {data});
  Conv active = conv(2);
  active.activation = kRelu;
  const ValueId d = b.add("d", active, {data});
  const ValueId e = b.add("e", conv(2, 1, 0, false), {data});
  const ValueId f = b.add("f", conv(2, 3, 1), {data});
  const ValueId other = b.add("other", conv(2), {a});
  Conv grouped = conv(2);
  grouped.group = 2;
  b.output(a);  // asked for, and read
  b.output(b.add("g1", grouped, {data}));
  b.output(b.add("g2", grouped, {data}));
  b.output(b.add("join", Concat{-3}, {d, e, f, other, c}));
  EXPECT_EQ(merged(b),
            "  input data: f32 2x4x3x3\n"
            "  a+c = conv(data, a+c/weight, a+c/bias) outputs=5: 2x5x3x3\n"
            "  c, a = slice(a+c) points=[3] outputs=2: 2x3x3x3 2x2x3x3\n"
            "  g1 = conv(data, g1/weight, g1/bias) outputs=2 group=2: 2x2x3x3\n"
            "  g2 = conv(data, g2/weight, g2/bias) outputs=2 group=2: 2x2x3x3\n"
            "  d = conv(data, d/weight, d/bias) outputs=2 activation=relu: 2x2x3x3\n"
            "  e = conv(data, e/weight) outputs=2 bias=no: 2x2x3x3\n"
            "  f = conv(data, f/weight, f/bias) outputs=2 kernel=3x3 pad=1x1: 2x2x3x3\n"
            "  other = conv(a, other/weight, other/bias) outputs=2: 2x2x3x3\n"
            "  join = concat(d, e, f, other, c) axis=-3: 2x11x3x3\n"
            "  output a, g1, g2, join\n");
}

TEST(FusePoolLrn, BothOrdersWhereOffered) {
  Builder b;
  const Pool pool{Pool::Kind::max, Window{{3, 3}, {2, 2}, {0, 0}, {1, 1}}};
  const ValueId first = b.add("pool1", pool, {b.input("data", {1, 8, 19, 19})});
  const ValueId read_twice = b.add("norm1", Lrn{}, {first});
  const ValueId norm2 = b.add("norm2", Lrn{}, {read_twice});
  const ValueId pool2 = b.add("pool2", pool, {norm2});
  b.output(b.add("sum", Eltwise{}, {b.add("pool3", pool, {read_twice}), pool2}));
  std::string log;
  const auto run = [&](bool is_offered) {
    return after(
        b,
        [&](Graph& graph, RewriteLog& to) {
          return fuse_pool_lrn(graph, to,
                               [&](const Op& op, Descs src, Descs dst, std::span<const bool>) {
                                 EXPECT_NE(op.as<PoolLrn>(), nullptr);
                                 EXPECT_EQ(src.size() + dst.size(), 2u);
                                 return is_offered;
                               });
        },
        &log);
  };
  run(true);
  EXPECT_EQ(log,
            "fused lrn norm1 with pool1\n"
            "fused pool pool2 with norm2");
  run(false);
  EXPECT_EQ(log, "");
}

TEST(RewriteForInference, Inception) {
  Builder b = inception(16, 24, 8, true);
  Graph graph = b.graph;
  RewriteLog log;
  rewrite_for_inference(graph, log);
  expect_same_outputs(b.graph, graph, 1e-9);
  EXPECT_EQ(graph.print(),
            "graph test\n"
            "  input data: f32 1x32x4x4\n"
            "  i/1x1+3x3_reduce+5x5_reduce = conv(data, i/1x1+3x3_reduce+5x5_reduce/weight,"
            " i/1x1+3x3_reduce+5x5_reduce/bias) outputs=48 activation=relu: 1x48x4x4\n"
            "  i/3x3_reduce, i/5x5_reduce, i/1x1 = slice(i/1x1+3x3_reduce+5x5_reduce)"
            " points=[24,32] outputs=3: 1x24x4x4 1x8x4x4 1x16x4x4\n"
            "  i/3x3 = conv(i/3x3_reduce, i/3x3/weight, i/3x3/bias) outputs=8 kernel=3x3 pad=1x1"
            " activation=relu: 1x8x4x4\n"
            "  i/5x5 = conv(i/5x5_reduce, i/5x5/weight, i/5x5/bias) outputs=8 kernel=5x5 pad=2x2"
            " activation=relu: 1x8x4x4\n"
            "  i/pool = pool(data) kernel=3x3 pad=1x1: 1x32x4x4\n"
            "  i/pool_proj = conv(i/pool, i/pool_proj/weight, i/pool_proj/bias) outputs=4"
            " activation=relu: 1x4x4x4\n"
            "  i/output = concat(i/1x1, i/3x3, i/5x5, i/pool_proj): 1x36x4x4\n"
            "  output i/output\n");
}

}  // namespace
}  // namespace maru
