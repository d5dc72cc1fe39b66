// What importing, rewriting and planning make of the real networks.
#include <gtest/gtest.h>

#include <algorithm>

#include "device/registry.h"
#include "import/caffe.h"
#include "ops/identity.h"
#include "ops/unary.h"
#include "plan/planner.h"
#include "rewrite/rewrite.h"
#include "tests/shared.h"

namespace maru {
namespace {

Graph network(const char* folder, std::int64_t batch) {
  const auto path = testing::shared_folder() / "models" / folder;
  std::filesystem::path weights;
  for (const auto& entry : std::filesystem::directory_iterator(path)) {
    if (entry.path().extension() == ".caffemodel") weights = entry.path();
  }
  CaffeOptions options;
  options.batch = batch;
  return import_caffe(path / "deploy.prototxt", weights, options).graph;
}

RewriteLog rewritten(Graph& graph, std::int64_t alignment) {
  RewriteLog log;
  RewriteOptions options;
  options.sibling_alignment = alignment;
  rewrite_for_inference(graph, log, options);
  graph.verify();
  return log;
}

std::ptrdiff_t lines_with(const RewriteLog& log, std::string_view word) {
  return std::ranges::count_if(log.lines,
                               [&](const std::string& line) { return line.starts_with(word); });
}

TEST(GoogLeNet, IsRewrittenToWhatMustBeComputed) {
  MARU_NEEDS_SHARED("models/bvlc_googlenet");
  Graph graph = network("bvlc_googlenet", 1);
  EXPECT_EQ(graph.nodes().size(), 142u);
  const RewriteLog log = rewritten(graph, 16);
  EXPECT_EQ(graph.nodes().size(), 75u);
  EXPECT_EQ(lines_with(log, "fused"), 57);
  EXPECT_EQ(lines_with(log, "merged"), 9);
  for (const Node& node : graph.nodes()) {
    EXPECT_FALSE(node.op.as<Unary>()) << node.name;
    EXPECT_FALSE(node.op.as<Identity>()) << node.name;
  }
}

TEST(SqueezeNet, IsRewrittenToWhatMustBeComputed) {
  MARU_NEEDS_SHARED("models/squeezenet_v1.1");
  Graph graph = network("squeezenet_v1.1", 1);
  EXPECT_EQ(graph.nodes().size(), 66u);
  rewritten(graph, 16);
  EXPECT_EQ(graph.nodes().size(), 39u);
}

// The promise of the plan: joins and cuts of GoogLeNet move no byte, whatever the batch.
TEST(GoogLeNet, IsPlannedWithoutACopy) {
  MARU_NEEDS_SHARED("models/bvlc_googlenet");
  const auto device = open_device("cpu", {2});
  for (const std::int64_t batch : {1, 3}) {
    Graph graph = network("bvlc_googlenet", batch);
    rewritten(graph, device->channel_block());
    const Plan plan = make_plan(graph, *device, {}).plan;
    EXPECT_EQ(plan.copied_bytes(), 0u) << plan.text();
    EXPECT_EQ(plan.steps.size(), 57u);  // 39 convolutions, 14 poolings, 2 LRN, inner product, softmax
  }
}

}  // namespace
}  // namespace maru
