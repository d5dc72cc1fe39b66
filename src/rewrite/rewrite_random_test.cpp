#include <algorithm>
#include <set>

#include "ops/cast.h"
#include "rewrite/random_graph.h"
#include "rewrite/rewrite.h"

namespace maru {
namespace {

using namespace rewrite_tests;

TEST(RewriteForInference, RandomGraphsGiveTheSame) {
  std::size_t rewrites = 0, merges = 0;
  for (unsigned seed = 0; seed < 400; ++seed) {
    const RandomGraph random(seed);
    const Graph& before = random.graph();
    SCOPED_TRACE(fmt::format("seed {}\n{}", seed, before.print()));
    const auto check = [&](auto&& pass, double tolerance) {
      Graph graph = before;
      RewriteLog log;
      const bool changed = pass(graph, log);
      SCOPED_TRACE(text(log));
      EXPECT_EQ(changed, !log.lines.empty());
      expect_same_outputs(before, graph, tolerance);
    };
    check(drop_identities, 1e-9);
    check(fold_affine, 1e-5);
    check([](Graph& g, RewriteLog& log) { return fuse_activations(g, log); }, 1e-9);
    check([](Graph& g, RewriteLog& log) { return merge_siblings(g, log, 2, 1); }, 1e-9);
    check([](Graph& g, RewriteLog& log) { return merge_siblings(g, log, 2, 4); }, 1e-9);

    Graph graph = before;
    RewriteLog log, again;
    rewrite_for_inference(graph, log);
    SCOPED_TRACE(fmt::format("{}\n{}", text(log), graph.print()));
    expect_same_outputs(before, graph, 1e-5);
    rewrite_for_inference(graph, again);
    EXPECT_EQ(text(again), "");
    rewrites += log.lines.size();
    merges += static_cast<std::size_t>(std::ranges::count_if(
        log.lines, [](const std::string& line) { return line.starts_with("merged"); }));
    if (HasFailure()) break;
  }
  // That the graphs were worth it.
  EXPECT_GT(rewrites, 1000u);
  EXPECT_GT(merges, 100u);
}

// Whatever a device has kernels for: the same numbers, each cast once, and no half for a caller.
TEST(HalfPrecision, RandomGraphsGiveTheSame) {
  std::size_t casts = 0, halves = 0, singles = 0;
  for (unsigned seed = 0; seed < 400; ++seed) {
    const RandomGraph random(seed);
    const Graph& before = random.graph();
    Graph graph = before;
    RewriteLog log;
    use_half_precision(graph, log, [&](const Op& op, Descs src, Descs, std::span<const bool>) {
      return (op.name().size() + src.size() + seed) % 4 != 0;
    });
    SCOPED_TRACE(fmt::format("seed {}\n{}{}", seed, before.print(), graph.print()));
    expect_same_outputs(before, graph, 0);
    for (const ValueId id : graph.inputs) EXPECT_EQ(graph.value(id).desc.dtype, DType::f32);
    for (const ValueId id : graph.outputs) EXPECT_EQ(graph.value(id).desc.dtype, DType::f32);
    std::set<std::pair<ValueId, DType>> seen;
    for (const Node& node : graph.nodes()) {
      const DType made = graph.value(node.dst[0]).desc.dtype;
      (made == DType::f16 ? halves : singles) += 1;
      if (!node.op.as<Cast>()) continue;
      ++casts;
      EXPECT_TRUE(seen.emplace(node.src[0], made).second) << node.name << " is there twice";
    }
    RewriteLog again;
    EXPECT_FALSE(fold_casts(graph, again, [](auto&&...) { return false; }));
    if (HasFailure()) break;
  }
  EXPECT_GT(casts, 400u);
  EXPECT_GT(halves, 400u);
  EXPECT_GT(singles, 400u);
}

}  // namespace
}  // namespace maru
