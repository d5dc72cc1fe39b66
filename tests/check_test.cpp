// The proof of plans: silent on right ones, and each seeded fault is named.
#include "plan/check.h"

#include <gtest/gtest.h>

#include <algorithm>

#include "base/error.h"
#include "device/registry.h"
#include "ops/concat.h"
#include "ops/conv.h"
#include "ops/pool.h"
#include "ops/slice.h"
#include "ops/unary.h"
#include "plan/planner.h"
#include "run/executor.h"
#include "tests/combining_device.h"
#include "tests/split_device.h"

namespace maru {
namespace {

using testing::SplitDevice;

// a -> cut into two; the left goes through a pool (on the CPU where it is unsupported), both are
// joined.
Graph block(std::int64_t batch) {
  Graph graph;
  graph.name = "net";
  graph.add_input("data", {DType::f32, {batch, 3, 6, 6}, {}});
  const auto add = [&](const std::string& name, const Op& op, std::vector<std::string> src,
                       std::vector<std::string> dst = {}) {
    std::vector<ValueId> ids;
    for (const std::string& s : src) ids.push_back(graph.require(s));
    for (const Param& param : op.params(graph.descs(ids))) {
      ids.push_back(graph.add_constant(
          name + "/" + std::string(param.role),
          std::make_shared<Constant>(
              param.shape, std::vector<float>(static_cast<std::size_t>(param.shape.count()), 0.5F))));
    }
    if (dst.empty()) dst = {name};
    graph.add_node(name, op, ids, dst);
  };
  const Window window{{1, 1}, {1, 1}, {0, 0}, {1, 1}};
  add("a", Conv{8, window, 1, true}, {"data"});
  add("cut", Slice{1, {4}, 2}, {"a"}, {"left", "right"});
  add("p", Pool{}, {"left"});
  add("q", Unary{Unary::Kind::sigmoid}, {"p"});
  add("r", Pool{}, {"right"});
  add("join", Concat{}, {"q", "r"});
  add("b", Conv{4, window, 1, true}, {"join"});
  add("c", Conv{4, window, 1, true}, {"b"});
  graph.outputs.push_back(graph.require("c"));
  return graph;
}

class PlanCheck : public ::testing::Test {
 protected:
  PlanCheck() : cpu_(open_device("cpu", {1})) {}

  Planned plan(MemoryPolicy policy, std::set<std::string_view> unsupported, std::int64_t batch = 2) {
    device_.unsupported = std::move(unsupported);
    PlanOptions options;
    options.policy = policy;
    Planned planned = make_plan(block(batch), devices(), options);
    EXPECT_NO_THROW(check_plan(planned, devices())) << planned.plan.text();
    return planned;
  }
  std::span<const Device* const> devices() {
    list_[0] = combines_ ? static_cast<const Device*>(&combining_) : &device_;
    list_[1] = cpu_.get();
    return list_;
  }
  // The error's text; empty where the plan was proven.
  std::string fault(const Planned& planned) {
    try {
      check_plan(planned, devices());
    } catch (const Error& e) {
      return e.what();
    }
    return "";
  }
  static std::size_t find(const Plan& plan, Step::Kind kind, std::string_view name = {}) {
    const auto at = std::ranges::find_if(plan.steps, [&](const Step& step) {
      return step.kind == kind && (name.empty() || step.name == name);
    });
    EXPECT_NE(at, plan.steps.end()) << kind_name(kind) << " " << name << "\n" << plan.text();
    return static_cast<std::size_t>(at - plan.steps.begin());
  }
  static std::string kind_name(Step::Kind kind) { return std::to_string(static_cast<int>(kind)); }
  static void erase(Plan& plan, std::size_t step) {
    plan.steps.erase(plan.steps.begin() + static_cast<std::ptrdiff_t>(step));
  }

  SplitDevice device_;
  testing::CombiningDevice combining_{device_};
  bool combines_ = false;  // whether the device of the plans is the one above
  std::unique_ptr<Device> cpu_;
  const Device* list_[2] = {};
};

#define EXPECT_FAULT(planned, where, what)                                                     \
  do {                                                                                         \
    const std::string text_ = fault(planned);                                                  \
    EXPECT_NE(text_.find(where), std::string::npos) << text_ << "\n" << (planned).plan.text(); \
    EXPECT_NE(text_.find(what), std::string::npos) << text_ << "\n" << (planned).plan.text();  \
  } while (false)

TEST_F(PlanCheck, EveryWaitIsNeeded) {
  for (const MemoryPolicy policy :
       {MemoryPolicy::copy, MemoryPolicy::zero_copy, MemoryPolicy::automatic}) {
    const Planned whole = plan(policy, {"pool", "unary"});
    std::size_t dropped = 0;
    for (std::size_t i = 0; i < whole.plan.steps.size(); ++i) {
      const Step& step = whole.plan.steps[i];
      if (step.kind != Step::Kind::wait && step.kind != Step::Kind::release) continue;
      Planned broken = whole;
      erase(broken.plan, i);
      EXPECT_NE(fault(broken), "") << "without step " << i << "\n" << whole.plan.text();
      ++dropped;
    }
    EXPECT_GT(dropped, 1U);
  }
}

TEST_F(PlanCheck, DroppedWaitNamesTheStepThatNeedsIt) {
  Planned broken = plan(MemoryPolicy::zero_copy, {"pool", "unary"});
  erase(broken.plan, find(broken.plan, Step::Kind::wait));
  EXPECT_FAULT(broken, "p: pool", "mapped for the CPU to read, by a wait that is not released");

  broken = plan(MemoryPolicy::copy, {});
  erase(broken.plan, find(broken.plan, Step::Kind::wait));
  EXPECT_FAULT(broken, "c: copy", "a wait for c, before c is copied");
}

TEST_F(PlanCheck, DroppedReleaseNamesTheStepOfTheDevice) {
  Planned broken = plan(MemoryPolicy::zero_copy, {"pool", "unary"});
  erase(broken.plan, find(broken.plan, Step::Kind::release));
  EXPECT_FAULT(broken, "b: conv", "a release of");
}

TEST_F(PlanCheck, HostTouchWhileTheDeviceRuns) {
  // The wait stands before the device's last step instead of behind it.
  Planned broken = plan(MemoryPolicy::zero_copy, {"pool", "unary"});
  const std::size_t wait = find(broken.plan, Step::Kind::wait);
  ASSERT_GT(wait, 0U);
  std::swap(broken.plan.steps[wait], broken.plan.steps[wait - 1]);
  EXPECT_FAULT(broken, "a: conv", "still mapped for the CPU");

  broken = plan(MemoryPolicy::zero_copy, {"pool", "unary"});
  const std::size_t release = find(broken.plan, Step::Kind::release);
  std::swap(broken.plan.steps[release], broken.plan.steps[release - 1]);
  EXPECT_FAULT(broken, "r: pool", "right mapped for the CPU to read, by a wait that is not released");
}

TEST_F(PlanCheck, ValuesThatOverlapInAnArena) {
  for (const std::set<std::string_view>& mix : {std::set<std::string_view>{}, {"pool", "unary"}}) {
    for (const std::int64_t batch : {1, 3}) {
      const Planned whole = plan(MemoryPolicy::zero_copy, mix, batch);
      // Each result moved onto the one before it, with all that reads it: right only where that is
      // dead.
      Planned broken = whole;
      const std::size_t b = find(broken.plan, Step::Kind::kernel, "b");
      const Operand to = broken.plan.steps[b].src[0];
      broken.plan.steps[b].dst[0].region = to.region;
      broken.plan.steps[b].dst[0].offset = to.offset;
      EXPECT_FAULT(broken, "b: conv", "b apart from join");
    }
  }
}

TEST_F(PlanCheck, AValueThatAnotherHasOverwritten) {
  // The right half is written over by the pool of the left one, before it is read.
  Planned broken = plan(MemoryPolicy::zero_copy, {}, 3);
  const std::size_t p = find(broken.plan, Step::Kind::kernel, "p");
  const std::size_t r = find(broken.plan, Step::Kind::kernel, "r");
  ASSERT_LT(p, r);
  const Operand right = broken.plan.steps[r].src[0];
  broken.plan.steps[p].dst[0].offset = right.offset;
  broken.plan.steps[p].dst[0].desc = right.desc;
  EXPECT_FAULT(broken, ": ", "written last by");
}

TEST_F(PlanCheck, BytesOutsideOfARegion) {
  Planned broken = plan(MemoryPolicy::zero_copy, {});
  broken.plan.regions[Plan::kArena].bytes -= 1;
  EXPECT_FAULT(broken, "step", "within");
  broken = plan(MemoryPolicy::zero_copy, {});
  broken.plan.regions[Plan::kWeights].bytes = 8;
  EXPECT_FAULT(broken, "", "within their region of 8 bytes");
}

TEST_F(PlanCheck, TheCallersInputIsNotWritten) {
  Planned broken = plan(MemoryPolicy::zero_copy, {});
  const std::size_t input = broken.plan.inputs[0].region;
  Operand& written = broken.plan.steps[find(broken.plan, Step::Kind::kernel, "p")].dst[0];
  written = {"p", broken.plan.inputs[0].desc, input, 0};
  EXPECT_FAULT(broken, "p: pool", "elsewhere than in the caller's input data");
}

TEST_F(PlanCheck, ADroppedOrRepeatedStep) {
  Planned broken = plan(MemoryPolicy::copy, {});
  erase(broken.plan, 0);
  EXPECT_FAULT(broken, "", "as the next step of the dataflow");
  broken = plan(MemoryPolicy::copy, {});
  broken.plan.steps.push_back(broken.plan.steps.back());
  EXPECT_FAULT(broken, "", "nothing as the next step of the dataflow");
}

// What the proof would have found is found at run time, too.
TEST_F(PlanCheck, AWatchedRunStopsBeforeTheCpuTouchesWhatTheDeviceUses) {
  Planned broken = plan(MemoryPolicy::zero_copy, {"pool", "unary"});
  const Weights weights = pack_weights(broken, devices());
  EXPECT_NO_THROW(Executor(broken.plan, devices(), weights, true).run());
  const std::size_t wait = find(broken.plan, Step::Kind::wait);
  std::swap(broken.plan.steps[wait], broken.plan.steps[wait - 1]);
  Executor watched(broken.plan, devices(), weights, true);
  try {
    watched.run();
    ADD_FAILURE() << "nothing seen";
  } catch (const std::logic_error& e) {
    EXPECT_NE(std::string(e.what()).find("p touches left, which the device may still use"),
              std::string::npos)
        << e.what();
  }
}

TEST_F(PlanCheck, AWatchedRunKnowsOfRows) {
  combines_ = true;
  Planned broken = plan(MemoryPolicy::zero_copy, {"pool", "unary"});
  const Weights weights = pack_weights(broken, devices());
  EXPECT_NO_THROW(Executor(broken.plan, devices(), weights, true).run());
  EXPECT_GT(combining_.combined, 0U);  // b and c
  const std::size_t wait = find(broken.plan, Step::Kind::wait);
  std::swap(broken.plan.steps[wait], broken.plan.steps[wait - 1]);
  Executor watched(broken.plan, devices(), weights, true);
  EXPECT_THROW(watched.run(), std::logic_error);
}

TEST_F(PlanCheck, DroppedEdgeNamesTheStepThatNeedsIt) {
  combines_ = true;
  const Planned whole = plan(MemoryPolicy::zero_copy, {}, 1);
  std::size_t dropped = 0;
  for (std::size_t i = 0; i < whole.plan.steps.size(); ++i) {
    const Step& step = whole.plan.steps[i];
    for (std::size_t k = 0; k < step.after.size(); ++k) {
      Planned broken = whole;
      auto& after = broken.plan.steps[i].after;
      after.erase(after.begin() + static_cast<std::ptrdiff_t>(k));
      EXPECT_FAULT(broken, fmt::format("step {} {}", i, step.name),
                   fmt::format("after step {} {}, which writes the same bytes", step.after[k],
                               whole.plan.steps[step.after[k]].name));
      ++dropped;
    }
  }
  EXPECT_GE(dropped, 6U);
}

TEST_F(PlanCheck, WritingWhatAnotherMayStillRead) {
  combines_ = true;
  Planned broken = plan(MemoryPolicy::zero_copy, {}, 1);
  // In the order of the steps, left is dead when r writes; but r need not follow p, which reads it.
  const Step& p = broken.plan.steps[find(broken.plan, Step::Kind::kernel, "p")];
  Step& r = broken.plan.steps[find(broken.plan, Step::Kind::kernel, "r")];
  r.dst[0].region = p.src[0].region;
  r.dst[0].offset = p.src[0].offset;
  EXPECT_FAULT(broken, "r: pool", "p, which reads the same bytes, got both at once on bytes");
}

TEST_F(PlanCheck, TwoWritersWithoutOrder) {
  combines_ = true;
  device_.workspace = 100;
  Planned broken = plan(MemoryPolicy::zero_copy, {}, 1);
  const Step& p = broken.plan.steps[find(broken.plan, Step::Kind::kernel, "p")];
  Step& r = broken.plan.steps[find(broken.plan, Step::Kind::kernel, "r")];
  EXPECT_NE(p.workspace_offset, r.workspace_offset);
  r.workspace_offset = p.workspace_offset;
  EXPECT_FAULT(broken, "r: pool", "the workspace written after step");
  r.after.push_back(find(broken.plan, Step::Kind::kernel, "q"));
  EXPECT_EQ(fault(broken), "") << "with an order between them they may share it";
}

TEST_F(PlanCheck, EdgesLeadToEarlierStepsOfTheRow) {
  combines_ = true;
  for (const std::size_t to : {0U, 1U, 100U}) {
    Planned broken = plan(MemoryPolicy::zero_copy, {"unary"}, 1);
    const std::size_t b = find(broken.plan, Step::Kind::kernel, "b");
    broken.plan.steps[b].after.insert(broken.plan.steps[b].after.begin(), to);
    EXPECT_FAULT(broken, "b: conv", fmt::format("before it, got step {};", to));
  }
}

TEST_F(PlanCheck, ResultsThatAreNotWaitedFor) {
  Planned broken = plan(MemoryPolicy::zero_copy, {});
  ASSERT_EQ(broken.plan.steps.back().kind, Step::Kind::wait);
  broken.plan.steps.pop_back();
  EXPECT_FAULT(broken, "the end of plan net", "a wait for the device");
}

}  // namespace
}  // namespace maru
