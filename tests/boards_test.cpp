// The promises of the design on every virtual board, under every policy: right answers, no copy that
// the plan does not show, reads after their writes (the boards' memory is strict), and `auto` no slower
// than the better of the other two by the board's own model.
#include "tests/boards.h"

#include <gtest/gtest.h>

#include <algorithm>

#include "ops/interpret.h"
#include "ops/preprocess.h"
#include "plan/cost.h"
#include "plan/planner.h"
#include "run/executor.h"

namespace maru {
namespace {

using testing::kAllPolicies;
using testing::PartialBoard;
using testing::SmallNet;

Plan plan_on(const Graph& graph, std::span<const Device* const> devices, MemoryPolicy policy,
             std::map<std::string, std::string> heaps = {}) {
  PlanOptions options;
  options.policy = policy;
  options.heaps = std::move(heaps);
  return make_plan(graph, devices, options).plan;
}

class Boards : public ::testing::TestWithParam<const char*> {
 protected:
  void SetUp() override { MARU_NEEDS_DEVICE(std::string("board:") + GetParam()); }
};

// Two runs, the second with other input, to see that nothing of the first is left.
void expect_right(const Graph& graph, std::span<const Device* const> devices, MemoryPolicy policy) {
  PlanOptions options;
  options.policy = policy;
  Planned planned = make_plan(graph, devices, options);
  SCOPED_TRACE(planned.plan.text());
  const Weights weights = pack_weights(planned, devices);
  Executor executor(planned.plan, devices, weights);
  for (const unsigned seed : {7U, 8U}) {
    std::mt19937 random(seed);
    const Port& in = planned.plan.inputs[0];
    const auto drawn = testing::draw(in.desc.count(), -1, 1, random);
    {
      const HostView view =
          executor.region(in.region).map(Access::write, 0, in.desc.bytes(), &executor.queue());
      std::ranges::transform(drawn, view.as<float>().begin(),
                             [](double v) { return static_cast<float>(v); });
    }
    executor.run();
    const std::vector<double> input(drawn.begin(), drawn.end());
    const Values<double> expected = interpret<double>(graph, std::span(&input, 1));
    for (std::size_t i = 0; i < graph.outputs.size(); ++i) {
      const Port& out = planned.plan.outputs[i];
      const HostView view =
          executor.region(out.region).map(Access::read, 0, out.desc.bytes(), &executor.queue());
      const auto& want = expected[static_cast<std::size_t>(graph.outputs[i])];
      ASSERT_EQ(view.as<float>().size(), want.size());
      for (std::size_t k = 0; k < want.size(); ++k) ASSERT_NEAR(view.as<float>()[k], want[k], 1e-5);
    }
  }
  EXPECT_EQ(executor.ledger().crossed_bytes(), 2 * planned.plan.crossing_bytes());
  std::size_t copies = 0;
  for (const Step& step : planned.plan.steps) copies += step.kind == Step::Kind::copy;
  EXPECT_EQ(executor.ledger().entries().size(), copies);
  if (policy == MemoryPolicy::zero_copy) {
    EXPECT_EQ(planned.plan.crossing_bytes(), 0U);
  }
}

const std::vector<std::set<std::string_view>> kMixes{
    {}, {"softmax"}, {"pool"}, {"eltwise"}, {"conv"}, {"pool", "eltwise", "softmax"}};

TEST_P(Boards, GiveTheRightAnswerUnderEveryPolicy) {
  const auto cpu = open_device("cpu", {1});
  for (const std::int64_t batch : {1, 3}) {
    const SmallNet net = testing::block(batch);
    for (const auto& mix : kMixes) {
      const PartialBoard board(GetParam(), mix);
      const Device* const devices[] = {&board, cpu.get()};
      for (const MemoryPolicy policy : kAllPolicies) expect_right(net.graph, devices, policy);
    }
  }
}

// Small and large tensors: what a copy costs to begin, and what it costs to go on, both decide.
TEST_P(Boards, AutoIsNoSlowerThanTheBetterOfTheTwo) {
  const auto cpu = open_device("cpu", {1});
  for (const std::int64_t extent : {8, 64, 256}) {
    for (const SmallNet& net : {testing::block(1, extent), testing::chain(extent)}) {
      for (const auto& mix : kMixes) {
        const PartialBoard board(GetParam(), mix);
        const Device* const devices[] = {&board, cpu.get()};
        const auto cost = [&](MemoryPolicy policy) {
          return cost_of(plan_on(net.graph, devices, policy), devices, board.model()->expected);
        };
        const PlanCost chosen = cost(MemoryPolicy::automatic);
        const PlanCost copy = cost(MemoryPolicy::copy), once = cost(MemoryPolicy::zero_copy);
        // Never to read uncached memory costs a copy's fixed price where a tensor is tiny.
        const bool may_win = once.uncached_read_bytes == 0 || extent > 8;
        const double better = may_win ? std::min(copy.total(), once.total()) : copy.total();
        EXPECT_LE(chosen.total(), better * 1.0001)
            << extent << " with " << mix.size() << " on the CPU\n"
            << plan_on(net.graph, devices, MemoryPolicy::automatic).text();
        EXPECT_EQ(chosen.uncached_read_bytes, 0);
      }
    }
  }
}

// A photo that is hardly made smaller, and one of which most rows are skipped.
TEST_P(Boards, AutoPlacesPhotosNoWorseThanTheBetterOfTheTwo) {
  const auto board = open_device(std::string("board:") + GetParam(), {}), cpu = open_device("cpu", {1});
  const Device* const devices[] = {board.get(), cpu.get()};
  for (const std::int64_t batch : {1, 8}) {
    for (const std::int64_t photo : {3 * 224 * 224, 4 << 20, 3 * 3840 * 2160}) {
      Graph graph;
      const ValueId pixels = graph.add_input("pixels", {DType::u8, {batch, photo}, {}});
      const ValueId frames = graph.add_input("frames", {DType::i32, {batch, 4}, {}});
      graph.add_node("preprocess", Preprocess{224, 224}, {pixels, frames}, {"data"});
      graph.outputs.push_back(graph.require("data"));
      const auto cost = [&](MemoryPolicy policy) {
        return cost_of(plan_on(graph, devices, policy), devices, board->model()->expected).total();
      };
      EXPECT_LE(cost(MemoryPolicy::automatic),
                1.0001 * std::min(cost(MemoryPolicy::copy), cost(MemoryPolicy::zero_copy)))
          << batch << " of " << photo << "\n"
          << plan_on(graph, devices, MemoryPolicy::automatic).text();
    }
  }
}

// Every choice of heaps for a small graph, costed; with the CPU never reading what it does not cache,
// which `auto` promises.
TEST_P(Boards, AutoIsCloseToTheBestOfAllPlacements) {
  const auto cpu = open_device("cpu", {1});
  double worst = 1;
  std::size_t tried = 0;
  for (const std::int64_t extent : {8, 64, 256}) {
    const SmallNet net = testing::chain(extent);
    for (const auto& [mix, crossing] :
         {std::pair<std::set<std::string_view>, std::vector<std::string>>{{}, {"data", "c"}},
          {{"pool"}, {"data", "a", "b", "c"}}}) {
      const PartialBoard board(GetParam(), mix);
      const Device* const devices[] = {&board, cpu.get()};
      std::vector<std::string> own, shared{PlanOptions::kApart};
      for (const Heap* heap : board.heaps()) {
        if (!heap->traits().device_visible) continue;
        own.push_back(heap->name());
        if (heap->traits().host_visible) shared.push_back(heap->name());
      }
      double best = std::numeric_limits<double>::infinity();
      std::size_t combinations = own.size();
      for (std::size_t i = 0; i < crossing.size(); ++i) combinations *= shared.size();
      for (std::size_t code = 0; code < combinations; ++code) {
        std::map<std::string, std::string> heaps{{"kernels", own[code % own.size()]}};
        std::size_t rest = code / own.size();
        for (const std::string& name : crossing) {
          heaps[name] = shared[rest % shared.size()];
          rest /= shared.size();
        }
        const PlanCost cost = cost_of(plan_on(net.graph, devices, MemoryPolicy::automatic, heaps),
                                      devices, board.model()->expected);
        if (cost.uncached_read_bytes == 0) best = std::min(best, cost.total());
        ++tried;
      }
      const double chosen = cost_of(plan_on(net.graph, devices, MemoryPolicy::automatic), devices,
                                    board.model()->expected)
                                .total();
      worst = std::max(worst, chosen / best);
      EXPECT_LE(chosen, best * 1.05) << extent << "\n"
                                     << plan_on(net.graph, devices, MemoryPolicy::automatic).text();
    }
  }
  fmt::print("regret on {}: {:.2f} % at most, of {} placements\n", GetParam(), (worst - 1) * 100,
             tried);
  RecordProperty("regret_percent", std::to_string((worst - 1) * 100));
}

// A value that is asked to live twice does not keep whole plans from being compared.
TEST_P(Boards, TakeTheBestOfWholePlansWithOneValueApart) {
  const auto cpu = open_device("cpu", {1});
  const PartialBoard board(GetParam(), {"pool"});
  const Device* const devices[] = {&board, cpu.get()};
  for (const std::int64_t extent : {8, 64, 256}) {
    const SmallNet net = testing::chain(extent);
    const auto cost = [&](MemoryPolicy policy, const std::map<std::string, std::string>& heaps) {
      return cost_of(plan_on(net.graph, devices, policy, heaps), devices, board.model()->expected);
    };
    const double chosen = cost(MemoryPolicy::automatic, {{"data", PlanOptions::kApart}}).total();
    for (const MemoryPolicy policy : {MemoryPolicy::copy, MemoryPolicy::zero_copy}) {
      const PlanCost alike = cost(policy, {});
      if (alike.uncached_read_bytes == 0) {
        EXPECT_LE(chosen, alike.total()) << extent << ' ' << testing::policy_word(policy);
      }
    }
  }
}

INSTANTIATE_TEST_SUITE_P(All, Boards, ::testing::ValuesIn(testing::kBoards),
                         [](const auto& tested) { return std::string(tested.param); });

// Where each class of tensor goes, in words: weights, the device's own, a photo, a tensor that the
// device writes and the CPU reads, the reverse, and scores.
std::string classes(const char* name, MemoryPolicy policy) {
  const SmallNet net = testing::chain(256);
  const PartialBoard board(name, {"pool"});
  const auto cpu = open_device("cpu", {1});
  const Device* const devices[] = {&board, cpu.get()};
  PlanOptions options;
  options.policy = policy;
  const Plan plan = make_plan(net.graph, devices, options).plan;
  const auto heap = [&](std::size_t region) { return plan.regions[region].heap->name(); };
  std::map<std::string, std::string> where;
  for (const Step& step : plan.steps) {
    for (const auto* operands : {&step.src, &step.dst}) {
      for (const Operand& operand : *operands) where[operand.name] = heap(operand.region);
    }
  }
  const auto both = [&](const std::string& value, const std::string& copy) {
    const auto second = where.find(copy);
    return second == where.end() ? where.at(value) : where.at(value) + "+" + second->second;
  };
  const std::string on = " on " + std::string(board.name());
  return fmt::format("weights {}, own {}, photo {}, to the CPU {}, from it {}, scores {}",
                     heap(Plan::kWeights), heap(Plan::kArena), both("data", "data" + on),
                     both("a", "a on the CPU"), both("b", "b" + on), heap(plan.outputs[0].region));
}

TEST(BoardPlacement, FollowsFromWhatTheMemoryDoes) {
  MARU_NEEDS_DEVICE("board:tk1");
  std::string text;
  for (const char* board : testing::kBoards) {
    for (const MemoryPolicy policy : kAllPolicies)
      text += fmt::format("{} {}: {}\n", board, testing::policy_word(policy), classes(board, policy));
  }
  EXPECT_EQ(
      text,
      R"(tk1 auto: weights managed, own device, photo managed, to the CPU managed, from it managed, scores managed
tk1 copy: weights device, own device, photo host+device, to the CPU device+host, from it host+device, scores host
tk1 zero_copy: weights pinned, own pinned, photo pinned, to the CPU pinned, from it pinned, scores pinned
tx2 auto: weights managed, own device, photo managed, to the CPU managed, from it managed, scores host
tx2 copy: weights device, own device, photo host+device, to the CPU device+host, from it host+device, scores host
tx2 zero_copy: weights pinned, own pinned, photo pinned, to the CPU pinned, from it pinned, scores pinned
nano auto: weights managed, own device, photo managed, to the CPU managed, from it managed, scores managed
nano copy: weights device, own device, photo host+device, to the CPU device+host, from it host+device, scores host
nano zero_copy: weights pinned, own pinned, photo pinned, to the CPU pinned, from it pinned, scores pinned
xavier auto: weights managed, own device, photo pinned, to the CPU pinned, from it pinned, scores pinned
xavier copy: weights device, own device, photo host+device, to the CPU device+host, from it host+device, scores host
xavier zero_copy: weights pinned, own pinned, photo pinned, to the CPU pinned, from it pinned, scores pinned
orin auto: weights managed, own device, photo pinned, to the CPU pinned, from it pinned, scores pinned
orin copy: weights device, own device, photo host+device, to the CPU device+host, from it host+device, scores host
orin zero_copy: weights pinned, own pinned, photo pinned, to the CPU pinned, from it pinned, scores pinned
thor auto: weights pinned, own device, photo pinned, to the CPU pinned, from it pinned, scores pinned
thor copy: weights device, own device, photo host+device, to the CPU device+host, from it host+device, scores host
thor zero_copy: weights pinned, own pinned, photo pinned, to the CPU pinned, from it pinned, scores pinned
mali auto: weights mapped, own device, photo mapped, to the CPU mapped, from it mapped, scores mapped
mali copy: weights device, own device, photo host+device, to the CPU device+host, from it host+device, scores host
mali zero_copy: weights mapped, own mapped, photo mapped, to the CPU mapped, from it mapped, scores mapped
adreno auto: weights mapped, own device, photo iocoherent, to the CPU iocoherent, from it iocoherent, scores iocoherent
adreno copy: weights device, own device, photo host+device, to the CPU device+host, from it host+device, scores host
adreno zero_copy: weights mapped, own iocoherent, photo iocoherent, to the CPU iocoherent, from it iocoherent, scores iocoherent
strix auto: weights device, own device, photo cached, to the CPU cached, from it cached, scores cached
strix copy: weights device, own device, photo host+device, to the CPU device+host, from it host+device, scores host
strix zero_copy: weights device, own cached, photo cached, to the CPU cached, from it cached, scores cached
pcie auto: weights device, own device, photo host+device, to the CPU pinned, from it host+device, scores pinned
pcie copy: weights device, own device, photo host+device, to the CPU device+host, from it host+device, scores host
pcie zero_copy: weights pinned, own pinned, photo pinned, to the CPU pinned, from it pinned, scores pinned
)");
}

// Read once, mapped memory on a card beats a copy; read by a window again and again it loses.
TEST(BoardPlacement, ADiscreteCardMapsWhatIsReadOnce) {
  MARU_NEEDS_DEVICE("board:pcie");
  const auto board = open_device("board:pcie", {}), cpu = open_device("cpu", {1});
  const Device* const devices[] = {board.get(), cpu.get()};
  const auto input_heap = [&](std::int64_t kernel) {
    SmallNet net({1, 3, 224, 224});
    net.add("a", testing::small_conv(8, kernel), {"data"}).output("a");
    const Plan plan = plan_on(net.graph, devices, MemoryPolicy::automatic);
    return plan.regions[plan.inputs[0].region].heap->name();
  };
  EXPECT_EQ(input_heap(1), "pinned");
  EXPECT_EQ(input_heap(5), "host");
}

}  // namespace
}  // namespace maru
