// Devices that combine launches: what plans let run at once, and how rows of steps are run.
#include <gtest/gtest.h>

#include <algorithm>
#include <nlohmann/json.hpp>

#include "plan/check.h"
#include "plan/planner.h"
#include "run/executor.h"
#include "tests/boards.h"
#include "tests/combining_device.h"
#include "tests/split_device.h"

namespace maru {
namespace {

using testing::CombiningDevice;
using testing::SplitDevice;

// Two branches from one value, joined.
Graph branches() {
  testing::SmallNet net({1, 3, 8, 8});
  net.add("a", testing::small_conv(4), {"data"});
  net.add("l1", testing::small_conv(4), {"a"}).add("l2", testing::small_conv(4), {"l1"});
  net.add("r1", testing::small_conv(4), {"a"}).add("r2", testing::small_conv(4), {"r1"});
  net.add("join", Concat{}, {"l2", "r2"}).add("c", testing::small_conv(3), {"join"}).output("c");
  return net.graph;
}

class CombinedLaunches : public ::testing::Test {
 protected:
  Planned plan(const Graph& graph, MemoryPolicy policy = MemoryPolicy::zero_copy) {
    PlanOptions options;
    options.policy = policy;
    options.check = true;
    return make_plan(graph, devices_, options);
  }
  std::size_t index(const Plan& plan, std::string_view name) {
    const auto at = std::ranges::find(plan.steps, name, &Step::name);
    EXPECT_NE(at, plan.steps.end()) << name << "\n" << plan.text();
    return static_cast<std::size_t>(at - plan.steps.begin());
  }
  // The output, of inputs that are all 1.
  std::vector<float> run(Executor& executor, const Plan& plan) {
    {
      const Port& in = plan.inputs[0];
      const HostView view =
          executor.region(in.region).map(Access::write, 0, in.desc.bytes(), &executor.queue());
      std::ranges::fill(view.as<float>(), 1.0F);
    }
    executor.run();
    const Port& out = plan.outputs[0];
    const HostView view =
        executor.region(out.region).map(Access::read, 0, out.desc.bytes(), &executor.queue());
    return {view.as<float>().begin(), view.as<float>().end()};
  }

  SplitDevice device_;
  CombiningDevice combining_{device_};
  std::unique_ptr<Device> cpu_ = open_device("cpu", {1});
  const Device* devices_[2] = {&combining_, cpu_.get()};
};

TEST_F(CombinedLaunches, BranchesFollowTheirOwnAlone) {
  const Plan combined = plan(branches()).plan;
  const auto after = [&](std::string_view name) { return combined.steps[index(combined, name)].after; };
  const auto only = [&](std::string_view name) { return std::vector{index(combined, name)}; };
  EXPECT_TRUE(after("a").empty());
  EXPECT_EQ(after("l1"), only("a"));
  EXPECT_EQ(after("r1"), only("a"));
  EXPECT_EQ(after("l2"), only("l1"));
  EXPECT_EQ(after("r2"), only("r1"));
  EXPECT_EQ(after("c"), (std::vector{index(combined, "l2"), index(combined, "r2")}));
}

TEST_F(CombinedLaunches, PlansSayWhatIsNotInTheOrderOfSteps) {
  const Plan combined = plan(branches()).plan;
  ASSERT_EQ(index(combined, "a"), 0U);
  ASSERT_EQ(index(combined, "r1"), 3U) << combined.text();
  const std::string text = combined.text();
  EXPECT_NE(text.find("  3   r1\n"
                      "      conv outputs=4\n"
                      "      by reference conv: the only offer\n"
                      "      after 0\n"
                      "      <- a"),
            std::string::npos)
      << text;
  EXPECT_NE(text.find("      after 2, 4\n"), std::string::npos) << text;
  std::size_t lines = 0;
  for (std::size_t at = 0; (at = text.find("      after ", at)) != std::string::npos; ++at) ++lines;
  EXPECT_EQ(lines, 2U) << "what follows the step before it needs no line\n" << text;
  const auto json = nlohmann::json::parse(combined.json());
  EXPECT_EQ(json["steps"][3]["after"], nlohmann::json::array({0}));
  EXPECT_EQ(json["steps"][0]["after"], nlohmann::json::array());
  EXPECT_FALSE(json["steps"].back().contains("after")) << "a wait";

  testing::SmallNet two({1, 3, 4, 4});
  two.add("a", testing::small_conv(2), {"data"}).add("b", testing::small_conv(2), {"data"});
  two.output("a").output("b");
  const std::string apart = plan(two.graph).plan.text();
  EXPECT_NE(apart.find("      after none since 0\n"), std::string::npos) << apart;
}

TEST_F(CombinedLaunches, OtherDevicesHaveThePlansThatTheyHad) {
  for (const MemoryPolicy policy : testing::kAllPolicies) {
    combining_.combining = false;
    const Plan wrapped = plan(branches(), policy).plan;
    devices_[0] = &device_;
    const Plan plain = plan(branches(), policy).plan;
    EXPECT_EQ(wrapped.text(), plain.text());
    EXPECT_EQ(plain.text().find("after"), std::string::npos);
    EXPECT_EQ(plain.json().find("\"after\""), std::string::npos);
    devices_[0] = &combining_;
    combining_.combining = true;
    EXPECT_GT(plan(branches(), policy).plan.arena_bytes(), plain.arena_bytes())
        << "what may run at once shares no bytes";
  }
}

TEST_F(CombinedLaunches, WorkspacesOfBranchesLieApart) {
  device_.workspace = 1000;
  const Plan combined = plan(branches()).plan;
  const auto workspace = [&](std::string_view name) {
    return combined.steps[index(combined, name)].workspace_offset;
  };
  for (const char* left : {"l1", "l2"}) {
    for (const char* right : {"r1", "r2"}) {
      const std::size_t a = workspace(left), b = workspace(right);
      EXPECT_GE(a < b ? b - a : a - b, 1000U) << combined.text();
    }
  }
  EXPECT_EQ(workspace("l1"), workspace("l2")) << "one follows the other";
}

// As what is computed again when training: chains that begin with what is there from the start, and of
// which the next is wanted when the one before has been used. All of them could run at once.
Graph chains(int count, int length) {
  testing::SmallNet net({1, 3, 8, 8});
  std::string sum;
  for (int c = 0; c < count; ++c) {
    std::string at = "data";
    for (int i = 0; i < length; ++i) {
      const std::string name = fmt::format("chain{}/{}", c, i);
      net.add(name, testing::small_conv(3), {at});
      at = name;
    }
    const std::string next = fmt::format("sum{}", c);
    if (c > 0) net.add(next, Eltwise{}, {sum, at});
    sum = c > 0 ? next : at;
  }
  net.output(sum);
  return net.graph;
}

TEST_F(CombinedLaunches, WhatIsFarApartSharesBytes) {
  Planned many = plan(chains(8, 20));
  EXPECT_EQ(plan(chains(16, 20)).plan.arena_bytes(), many.plan.arena_bytes());
  EXPECT_GT(plan(chains(4, 3)).plan.arena_bytes(), plan(chains(2, 3)).plan.arena_bytes())
      << "short chains are near each other, and may run at once";

  const Weights weights = pack_weights(many, devices_);
  Executor executor(many.plan, devices_, weights);
  const std::vector<float> first = run(executor, many.plan);
  combining_.combining = false;
  Planned ordered = plan(chains(8, 20));
  const Weights same = pack_weights(ordered, devices_);
  Executor one_by_one(ordered.plan, devices_, same);
  EXPECT_EQ(first, run(one_by_one, ordered.plan));
  for (int i = 0; i < 10; ++i) EXPECT_EQ(run(executor, many.plan), first);
}

TEST_F(CombinedLaunches, RowsAreOneLaunchThatIsMadeOnce) {
  Planned planned = plan(branches());
  const Weights weights = pack_weights(planned, devices_);
  Executor executor(planned.plan, devices_, weights);
  EXPECT_EQ(combining_.combined, 0U);
  const std::vector<float> first = run(executor, planned.plan);
  EXPECT_EQ(combining_.combined, 1U);
  for (int i = 0; i < 10; ++i) EXPECT_EQ(run(executor, planned.plan), first);
  EXPECT_EQ(combining_.combined, 1U);

  const std::size_t input = planned.plan.inputs[0].region;
  const Region& region = planned.plan.regions[input];
  executor.rebind(input, region.heap->allocate(region.bytes, "another"), {1, 3, 8, 8});
  EXPECT_EQ(run(executor, planned.plan), first);
  EXPECT_EQ(combining_.combined, 2U) << "a launch was bound anew";
}

// What is alone between steps of the CPU is launched as it is; the others stay in their rows.
TEST_F(CombinedLaunches, RowsOfOneAreLaunchedPlainly) {
  device_.unsupported = {"softmax"};
  testing::SmallNet net({1, 3, 4, 4});
  net.add("a", testing::small_conv(4), {"data"}).add("s", Softmax{}, {"a"});
  net.add("b", testing::small_conv(4), {"s"}).add("c", testing::small_conv(2), {"b"}).output("c");
  Planned planned = plan(net.graph);
  const std::vector<std::size_t> rows = planned.plan.rows();
  const std::size_t b = index(planned.plan, "b");
  EXPECT_EQ(rows[b + 1], b);
  EXPECT_TRUE(planned.plan.steps[b].after.empty()) << "what it follows is not of its row";
  const Weights weights = pack_weights(planned, devices_);
  Executor executor(planned.plan, devices_, weights);
  const std::vector<float> combined = run(executor, planned.plan);
  EXPECT_EQ(combining_.combined, 1U);

  combining_.combining = false;
  Planned plain = plan(net.graph);
  const Weights same = pack_weights(plain, devices_);
  Executor one_by_one(plain.plan, devices_, same);
  EXPECT_EQ(run(one_by_one, plain.plan), combined);
}

TEST_F(CombinedLaunches, CopiesInARowAreCounted) {
  testing::SmallNet net({1, 4, 4, 4});
  net.add("a", testing::small_conv(4), {"data"}).add("join", Concat{}, {"a", "a"});
  net.add("c", testing::small_conv(2), {"join"}).output("c");
  Planned planned = plan(net.graph);
  ASSERT_GT(planned.plan.copied_bytes(), 0U);
  ASSERT_EQ(planned.plan.crossing_bytes(), 0U);
  const Weights weights = pack_weights(planned, devices_);
  Executor executor(planned.plan, devices_, weights);
  run(executor, planned.plan);
  run(executor, planned.plan);
  EXPECT_GT(combining_.combined, 0U);
  EXPECT_EQ(executor.ledger().bytes(), 2 * planned.plan.copied_bytes());
  for (const Ledger::Entry& entry : executor.ledger().entries()) {
    EXPECT_EQ(entry.times, 2U);
    EXPECT_EQ(entry.seconds, 0) << "nobody can say";
  }
}

// A device of which launching, or making, what is combined fails so many times.
class Failing final : public Launch {
 public:
  Failing(std::unique_ptr<Launch> launch, int& times) : launch_(std::move(launch)), times_(times) {}
  void run(Queue& queue) override {
    launch_->run(queue);
    if (times_ > 0 && times_-- > 0) throw Error("device", "a device", "one that was lost");
  }

 private:
  std::unique_ptr<Launch> launch_;
  int& times_;
};

TEST_F(CombinedLaunches, AfterAnErrorItMayBeRunAgain) {
  for (const bool when_made : {false, true}) {
    SCOPED_TRACE(when_made);
    int times = 0;
    combining_.wrap = [&](std::unique_ptr<Launch> launch) -> std::unique_ptr<Launch> {
      if (when_made && times > 0 && times-- > 0) throw Error("device", "memory for a launch", "none");
      return when_made ? std::move(launch) : std::make_unique<Failing>(std::move(launch), times);
    };
    Planned planned = plan(branches());
    const Weights weights = pack_weights(planned, devices_);
    Executor executor(planned.plan, devices_, weights);
    times = 2;
    EXPECT_THROW(run(executor, planned.plan), Error);
    EXPECT_THROW(run(executor, planned.plan), Error);
    const std::vector<float> right = run(executor, planned.plan);
    EXPECT_EQ(run(executor, planned.plan), right);
    EXPECT_NE(right, std::vector<float>(right.size()));
  }
}

}  // namespace
}  // namespace maru
