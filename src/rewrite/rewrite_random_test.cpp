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

}  // namespace
}  // namespace maru
