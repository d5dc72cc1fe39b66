// Both real networks on every virtual board under every policy: Caffe's scores, no copy beside the
// plan's, and `auto` no slower than the better of the other two by the board's own model.
#include <gtest/gtest.h>
#include <maru/maru.h>

#include <algorithm>
#include <nlohmann/json.hpp>

#include "tests/boards.h"
#include "tests/golden.h"

namespace maru {
namespace {

using testing::Network;

class RealNetworks : public ::testing::TestWithParam<std::tuple<Network, const char*>> {};

TEST_P(RealNetworks, AreRightOnTheBoard) {
  const auto& [network, board] = GetParam();
  const std::string device = std::string("board:") + board;
  MARU_NEEDS_SHARED(network.golden);
  MARU_NEEDS_DEVICE(device);
  std::map<MemoryPolicy, double> modelled;
  for (const MemoryPolicy policy : testing::kAllPolicies) {
    SCOPED_TRACE(testing::policy_word(policy));
    ModelOptions options;
    options.photos = false;
    options.device = device;
    options.memory = policy;
    const Model model = Model::load(testing::shared_folder() / network.model, options);
    Session session(model);
    constexpr int kRuns = 2;  // the second shows what the first has left
    for (int photo = 0; photo < kRuns; ++photo) {
      std::ranges::copy(testing::golden(network, testing::numbered("inputs", photo)),
                        session.input("data").as<float>().begin());
      session.run();
      const auto expected = testing::golden(network, testing::numbered("outputs", photo));
      EXPECT_LE(testing::largest_difference(session.output("prob").as<float>(), expected), 1e-5);
    }
    const auto plan = nlohmann::json::parse(model.plan_json());
    std::uint64_t crossed = 0;
    for (const CopyRecord& record : session.copies()) crossed += record.crosses ? record.bytes : 0;
    EXPECT_EQ(crossed, kRuns * plan["crossing_bytes"].get<std::uint64_t>());
    const auto& cost = plan["modelled"]["expected"];
    modelled[policy] = cost["total_seconds"];
    if (policy == MemoryPolicy::automatic) {
      EXPECT_EQ(cost["uncached_read_bytes"], 0.0);
    }
  }
  EXPECT_LE(modelled[MemoryPolicy::automatic],
            std::min(modelled[MemoryPolicy::copy], modelled[MemoryPolicy::zero_copy]) * 1.0001);
}

std::string name_of(const ::testing::TestParamInfo<std::tuple<Network, const char*>>& info) {
  const auto& [network, board] = info.param;
  const std::string_view golden = network.golden;
  return std::string(golden == testing::kGoogLeNet.golden ? "googlenet_" : "squeezenet_") + board;
}

INSTANTIATE_TEST_SUITE_P(Boards, RealNetworks,
                         ::testing::Combine(::testing::Values(testing::kGoogLeNet,
                                                              testing::kSqueezeNet),
                                            ::testing::ValuesIn(testing::kBoards)),
                         name_of);

}  // namespace
}  // namespace maru
