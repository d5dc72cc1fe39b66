// Recomputation: the same gradients from less memory.
#include "rewrite/recompute.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <map>

#include "ops/batch_norm.h"
#include "ops/eltwise.h"
#include "ops/identity.h"
#include "ops/interpret.h"
#include "ops/loss.h"
#include "ops/scale.h"
#include "ops/unary.h"
#include "rewrite/test_graphs.h"
#include "rewrite/training.h"

namespace maru {
namespace {

using namespace rewrite_tests;

void add_loss(Builder& b, ValueId at) {
  const ValueId target = b.input("target", b.graph.value(at).desc.shape);
  b.output(b.add("loss", PairLoss{}, {at, target}));
}

// So many blocks, one after another.
Graph chain(int blocks) {
  Builder b;
  ValueId at = b.input("data", {2, 3, 5, 5});
  for (int i = 0; i < blocks; ++i) {
    const std::string name = fmt::format("block{}", i);
    at = b.add(name, conv(3, 3, 1), {at});
    at = b.add(name + "/tanh", Unary{Unary::Kind::tanh}, {at});
  }
  add_loss(b, at);
  return std::move(b.graph);
}

// With all that keeps something beside its result: dropout, batch normalisation, a sum over a way
// around.
Graph mixed() {
  Builder b;
  ValueId at = b.input("data", {2, 3, 5, 5});
  for (int i = 0; i < 4; ++i) {
    const std::string name = fmt::format("block{}", i);
    const ValueId around = at;
    at = b.add(name, conv(3, 3, 1), {at});
    at = b.add(name + "/bn", BatchNorm{}, {at});
    at = b.add(name + "/scale", Scale{1, 1, true}, {at});
    at = b.add(name + "/relu", Unary{}, {at});
    at = b.add(name + "/drop", Identity{Identity::Reason::dropout, 1, 0.3}, {at});
    at = b.add(name + "/sum", Eltwise{}, {at, around});
  }
  add_loss(b, at);
  return std::move(b.graph);
}

TrainingOptions with_recomputation(bool recompute) {
  TrainingOptions options;
  options.losses = {{"loss", 1}};
  options.seed = 5;
  options.recompute = recompute;
  return options;
}

// The most elements that live at once beside states, counted otherwise than in recompute.cpp: node by
// node, what has been computed and is still to be read.
std::int64_t most_elements(const Graph& graph) {
  std::int64_t most = 0;
  for (std::size_t n = 0; n < graph.nodes().size(); ++n) {
    std::int64_t live = 0;
    for (std::size_t v = 0; v < graph.values().size(); ++v) {
      const auto id = ValueId(static_cast<std::uint32_t>(v));
      const auto producer = graph.value(id).producer;
      if (!producer || static_cast<std::size_t>(*producer) > n) continue;
      const auto readers = graph.readers(id);
      const bool is_read_later = std::ranges::any_of(
          readers, [&](NodeId reader) { return static_cast<std::size_t>(reader) >= n; });
      const bool is_state = std::ranges::find(graph.states, id, &State::end) != graph.states.end();
      if (is_state) continue;
      if (is_read_later || graph.is_output(id) || static_cast<std::size_t>(*producer) == n)
        live += graph.value(id).desc.count();
    }
    most = std::max(most, live);
  }
  return most;
}

// What graph outputs and states are after a pass, by name.
std::map<std::string, std::vector<double>> results_of(const Graph& graph) {
  Random random(7);
  std::vector<std::vector<double>> given;
  const auto give = [&](ValueId id) {
    given.push_back(uniform_values(random, graph.value(id).desc.count()));
  };
  for (const ValueId id : graph.inputs) {
    give(id);
    if (graph.value(id).name == "step") given.back() = {3};
  }
  for (const State& state : graph.states) give(state.begin);
  const Values<double> values = interpret<double>(graph, given);
  std::map<std::string, std::vector<double>> results;
  for (const ValueId id : graph.outputs)
    results[graph.value(id).name] = values[static_cast<std::size_t>(id)];
  for (const State& state : graph.states)
    results["state " + graph.value(state.begin).name] = values[static_cast<std::size_t>(state.end)];
  return results;
}

struct Case {
  const char* name;
  Graph (*network)();
  // Computed twice, of the network's nodes; and what the most elements at once become, at most.
  std::size_t least_again;
  double share;
};

class Recompute : public ::testing::TestWithParam<Case> {};

TEST_P(Recompute, GivesTheSameFromLessMemory) {
  Graph kept = GetParam().network(), again = GetParam().network();
  EXPECT_EQ(build_gradients(kept, with_recomputation(false)).recomputed, 0u);
  const Trained trained = build_gradients(again, with_recomputation(true));
  EXPECT_GE(trained.recomputed, GetParam().least_again);
  EXPECT_EQ(again.nodes().size(), kept.nodes().size() + trained.recomputed);
  again.verify();
  const std::int64_t before = most_elements(kept), after = most_elements(again);
  EXPECT_LT(static_cast<double>(after), GetParam().share * static_cast<double>(before))
      << before << " elements were " << after;
  const auto wanted = results_of(kept), got = results_of(again);
  ASSERT_GT(wanted.size(), 2u);
  for (const auto& [name, values] : wanted) {
    ASSERT_TRUE(got.contains(name)) << name;
    EXPECT_EQ(got.at(name), values) << name;
  }
}

INSTANTIATE_TEST_SUITE_P(Networks, Recompute,
                         ::testing::Values(Case{"chain", [] { return chain(16); }, 10, 0.7},
                                           Case{"long_chain", [] { return chain(100); }, 100, 0.3},
                                           Case{"mixed", mixed, 3, 0.9}),
                         [](const auto& tested) { return std::string(tested.param.name); });

// Two layers: there is nothing to forget.
TEST(RecomputeOfLittle, LeavesTheGraphAsItIs) {
  Graph kept = chain(1), again = chain(1);
  build_gradients(kept, with_recomputation(false));
  EXPECT_EQ(build_gradients(again, with_recomputation(true)).recomputed, 0u);
  EXPECT_EQ(again.print(), kept.print());
}

// What is read after the run is there once.
TEST(RecomputeOfOutputs, KeepsThem) {
  Graph graph = chain(16);
  const ValueId middle = graph.require("block7");
  graph.outputs.push_back(middle);
  build_gradients(graph, with_recomputation(true));
  EXPECT_FALSE(graph.find("block7/again"));
  EXPECT_TRUE(graph.find("block6/again") || graph.find("block5/again") || graph.find("block4/again"));
}

}  // namespace
}  // namespace maru
