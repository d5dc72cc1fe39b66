// Both real networks where every run takes another order that the plan's edges allow: Caffe's scores.
#include <gtest/gtest.h>

#include <algorithm>
#include <map>

#include "api/loading.h"
#include "plan/check.h"
#include "run/executor.h"
#include "tests/boards.h"
#include "tests/combining_device.h"
#include "tests/golden.h"

namespace maru {
namespace {

using testing::Network;

struct Case {
  Network network;
  const char* device;
  MemoryPolicy policy;
  std::int64_t batch;
};

class CombinedNetworks : public ::testing::TestWithParam<Case> {};

TEST_P(CombinedNetworks, AreRightInAnyOrder) {
  const Case& c = GetParam();
  MARU_NEEDS_SHARED(c.network.golden);
  MARU_NEEDS_DEVICE(c.device);
  if (c.policy == MemoryPolicy::zero_copy) MARU_NEEDS_SHARED_HEAP(c.device);
  ModelOptions options;
  options.photos = false;
  options.device = c.device;
  options.memory = c.policy;
  options.batch = c.batch;
  Model::State state;
  const auto package = find_package((testing::shared_folder() / c.network.model).string(), {}, {});
  const Graph graph = load_network(state, package, options).graph;
  const PlanOptions how = plan_options(state, options);
  const Plan one_by_one = make_plan(graph, state.device_list, how).plan;

  testing::CombiningDevice device(*state.device_list[0]);
  std::vector<const Device*> devices = state.device_list;
  devices[0] = &device;
  Planned planned = make_plan(graph, devices, how);
  EXPECT_NO_THROW(check_plan(planned, devices));
  const Plan& plan = planned.plan;
  const std::vector<std::size_t> row = plan.rows();
  std::size_t edges = 0, forks = 0, longest = 0;
  std::vector<std::size_t> depth(plan.steps.size());
  for (std::size_t i = 0; i < plan.steps.size(); ++i) {
    const auto& after = plan.steps[i].after;
    edges += after.size();
    forks += row[i] != i && !std::ranges::binary_search(after, i - 1);
    for (const std::size_t earlier : after) depth[i] = std::max(depth[i], depth[earlier] + 1);
    longest = std::max(longest, depth[i] + 1);
  }
  RecordProperty("arena_bytes_one_by_one", std::to_string(one_by_one.arena_bytes()));
  RecordProperty("arena_bytes_combined", std::to_string(plan.arena_bytes()));
  RecordProperty("steps_edges_forks_depth",
                 fmt::format("{} {} {} {}", plan.steps.size(), edges, forks, longest));
  EXPECT_GT(forks, 7U);
  EXPECT_EQ(plan.copied_bytes(), one_by_one.copied_bytes());
  EXPECT_LE(plan.arena_bytes(), 2 * one_by_one.arena_bytes());

  const Weights weights = pack_weights(planned, devices);
  Executor executor(plan, devices, weights);
  const auto view = [&](const Port& port, Access access) {
    return executor.region(port.region).map(access, 0, port.desc.bytes(), &executor.queue());
  };
  constexpr int kRuns = 3;
  for (int run = 0; run < kRuns; ++run) {
    std::vector<float> expected;
    {
      const HostView input = view(plan.inputs[0], Access::write);
      float* to = input.as<float>().data();
      for (int image = 0; image < c.batch; ++image) {
        const int photo = (run + image) % testing::kPhotos;
        to = std::ranges::copy(testing::golden(c.network, testing::numbered("inputs", photo)), to).out;
        const auto scores = testing::golden(c.network, testing::numbered("outputs", photo));
        expected.insert(expected.end(), scores.begin(), scores.end());
      }
    }
    executor.run();
    EXPECT_LE(testing::largest_difference(view(plan.outputs[0], Access::read).as<float>(), expected),
              1e-5);
  }
  EXPECT_GE(device.combined, 1U);
}

std::string name_of(const ::testing::TestParamInfo<Case>& info) {
  const Case& c = info.param;
  std::string name =
      fmt::format("{}_{}_{}_{}", c.network.model, c.device, testing::policy_word(c.policy), c.batch);
  for (char& letter : name) {
    if (!std::isalnum(static_cast<unsigned char>(letter))) letter = '_';
  }
  return name;
}

INSTANTIATE_TEST_SUITE_P(
    Devices, CombinedNetworks,
    ::testing::Values(Case{testing::kGoogLeNet, "board:orin", MemoryPolicy::zero_copy, 1},
                      Case{testing::kGoogLeNet, "board:pcie", MemoryPolicy::copy, 2},
                      Case{testing::kGoogLeNet, "opencl", MemoryPolicy::automatic, 1},
                      Case{testing::kGoogLeNet, "opencl", MemoryPolicy::copy, 4},
                      Case{testing::kSqueezeNet, "board:tk1", MemoryPolicy::automatic, 2},
                      Case{testing::kSqueezeNet, "opencl", MemoryPolicy::zero_copy, 1}),
    name_of);

}  // namespace
}  // namespace maru
