// Training by several processes: against one that has the whole batch, and what happens when one of
// them ends, waits or is another. The processes are the program `rank` (rank_main.cpp).
#include <dlfcn.h>
#include <gtest/gtest.h>

#include <cmath>
#include <filesystem>
#include <fstream>

#include "device/registry.h"
#include "ranks/communicator.h"
#include "tests/devices.h"
#include "tests/files.h"
#include "tests/paths.h"
#include "tests/processes.h"
#include "tests/ranks_training.h"

namespace maru {
namespace {

using std::chrono::seconds;
using testing::Process;

#define MARU_NEEDS_GLOO() \
  if (!is_built_with_gloo()) GTEST_SKIP() << "this maru was built without Gloo"

bool is_built_with_gloo() {
  Ranks ranks;
  ranks.ranks = 2;
  ranks.port = 1;
  ranks.rank = 1;
  CommunicatorOptions at_once;
  at_once.start = std::chrono::milliseconds(1);
  try {
    make_communicator(ranks, at_once);
  } catch (const Error& error) {
    return std::string(error.what()).find("Gloo") == std::string::npos;
  }
  return true;
}

#define MARU_NEEDS_NCCL()    \
  MARU_NEEDS_GLOO();         \
  MARU_NEEDS_DEVICE("cuda"); \
  if (!has_nccl()) GTEST_SKIP() << "libnccl.so.2 is not here"

bool has_nccl() {
  void* library = ::dlopen("libnccl.so.2", RTLD_LAZY | RTLD_LOCAL);
  if (library != nullptr) ::dlclose(library);
  return library != nullptr;
}

::testing::AssertionResult contains(std::string_view text, std::string_view part) {
  if (text.find(part) != std::string_view::npos) return ::testing::AssertionSuccess();
  return ::testing::AssertionFailure() << "expected \"" << part << "\" in \"" << text << "\"";
}

class RanksTraining : public ::testing::Test {
 protected:
  // As torchrun says it.
  void start(const std::string& scenario, int rank, int ranks) {
    std::map<std::string, std::string> environment{{"RANK", std::to_string(rank)},
                                                   {"WORLD_SIZE", std::to_string(ranks)},
                                                   {"LOCAL_RANK", std::to_string(rank)},
                                                   {"MASTER_ADDR", "127.0.0.1"}};
    if (device_ == "cuda") environment.merge(gpu_of(rank));
    start(scenario, std::move(environment));
  }
  // A GPU of its own where there are enough. NCCL wants one for each rank of a host; where there are
  // fewer, each rank says that it is a host, and they meet by the network.
  std::map<std::string, std::string> gpu_of(int rank) const {
    if (testing::has_device("cuda:1")) return {{"CUDA_VISIBLE_DEVICES", std::to_string(rank)}};
    return {{"NCCL_HOSTID", fmt::format("maru{}", rank)}, {"NCCL_SOCKET_IFNAME", "lo"}};
  }
  void start(const std::string& scenario, std::map<std::string, std::string> environment) {
    environment["MASTER_PORT"] = std::to_string(port_);
    processes_.emplace_back(
        std::vector<std::string>{testing::rank_program(), scenario, folder_.path().string(), device_},
        environment, folder_.path("errors" + std::to_string(processes_.size())).string());
  }
  void start_all(const std::string& scenario, int ranks) {
    for (int rank = 0; rank < ranks; ++rank) start(scenario, rank, ranks);
  }
  // What a rank ended with, and what it said.
  int code(std::size_t rank, seconds timeout = seconds(90)) {
    return processes_[rank].wait(timeout).value_or(-1);
  }
  std::string said(std::size_t rank) const { return processes_[rank].errors(); }

  std::vector<float> states(int rank) const {
    const std::filesystem::path path = folder_.path(std::to_string(rank));
    std::vector<float> values(std::filesystem::file_size(path) / sizeof(float));
    std::ifstream file(path, std::ios::binary);
    file.read(reinterpret_cast<char*>(values.data()),
              static_cast<std::streamsize>(values.size() * sizeof(float)));
    return values;
  }

  void compare_with_one_process(int ranks, std::int64_t passes);

  testing::Folder folder_;
  std::string device_ = "cpu";
  int port_ = testing::free_port();
  std::vector<Process> processes_;
};

// Sums over samples are taken in another order, which rounds otherwise. Each state may differ by a
// small part of what training has moved it, as in training_test.cpp.
void RanksTraining::compare_with_one_process(int ranks, std::int64_t passes) {
  for (int rank = 0; rank < ranks; ++rank)
    ASSERT_EQ(code(static_cast<std::size_t>(rank)), 0) << said(static_cast<std::size_t>(rank));
  DeviceOptions options;
  options.threads = 1;
  const auto cpu = open_device("cpu", options);
  const Device* devices[] = {cpu.get()};
  Trainer alone(testing::small_inception(), devices, testing::ranks_training(passes));
  const auto before = testing::states_of(alone);
  testing::train(alone, passes, 0, 1);
  const std::vector<float> together = states(0);
  for (int rank = 1; rank < ranks; ++rank) EXPECT_EQ(states(rank), together);
  std::size_t at = 0;
  for (const auto& [name, wanted] : testing::states_of(alone)) {
    ASSERT_LE(at + wanted.size(), together.size());
    double moved = 0, error = 0;
    for (std::size_t i = 0; i < wanted.size(); ++i, ++at) {
      moved = std::max(moved, std::fabs(static_cast<double>(wanted[i] - before.at(name)[i])));
      error = std::max(error, std::fabs(static_cast<double>(wanted[i] - together[at])));
    }
    EXPECT_GT(moved, 0) << name;
    EXPECT_LT(error, 2e-3 * moved + 1e-6) << name;
  }
  EXPECT_EQ(at, together.size());
}

TEST_F(RanksTraining, OfTwoIsThatOfOneWithTheLargerBatch) {
  MARU_NEEDS_GLOO();
  start_all("train", 2);
  compare_with_one_process(2, 1);
}

TEST_F(RanksTraining, OfThreeIsThatOfOneWithTheLargerBatch) {
  MARU_NEEDS_GLOO();
  start_all("train", 3);
  compare_with_one_process(3, 1);
}

// Gradients are added up before they are sent, and clipped by the norm of their mean.
TEST_F(RanksTraining, WithSeveralPassesAnUpdateIsThatOfOne) {
  MARU_NEEDS_GLOO();
  start_all("passes", 3);
  compare_with_one_process(3, 2);
}

TEST_F(RanksTraining, IsStartedByMpirunToo) {
  MARU_NEEDS_GLOO();
  for (const char* rank : {"0", "1"})
    start("train", {{"OMPI_COMM_WORLD_RANK", rank},
                    {"OMPI_COMM_WORLD_SIZE", "2"},
                    {"OMPI_COMM_WORLD_LOCAL_RANK", rank},
                    {"OMPI_COMM_WORLD_LOCAL_SIZE", "2"},
                    {"PMIX_NAMESPACE", "prterun-1@1"}});
  compare_with_one_process(2, 1);
}

TEST_F(RanksTraining, OnCudaOfTwoIsThatOfOneOnTheCpuWithTheLargerBatch) {
  MARU_NEEDS_NCCL();
  device_ = "cuda";
  start_all("train", 2);
  compare_with_one_process(2, 1);
}

TEST_F(RanksTraining, OnCudaWithSeveralPassesAnUpdateIsThatOfOneOnTheCpu) {
  MARU_NEEDS_NCCL();
  device_ = "cuda";
  start_all("passes", 2);
  compare_with_one_process(2, 2);
}

TEST_F(RanksTraining, OnCudaARankThatIsKilledIsNamedByTheOther) {
  MARU_NEEDS_NCCL();
  device_ = "cuda";
  start_all("dies", 2);
  EXPECT_EQ(code(1), 128 + 9);
  EXPECT_EQ(code(0), 1);
  EXPECT_TRUE(contains(said(0), "all 2 ranks until the end, got the end of rank 1"));
}

TEST_F(RanksTraining, ARankThatIsKilledIsNamedByTheOthers) {
  MARU_NEEDS_GLOO();
  start_all("dies", 3);
  EXPECT_EQ(code(2), 128 + 9);
  for (const std::size_t rank : {0u, 1u}) {
    EXPECT_EQ(code(rank, seconds(90)), 1);
    EXPECT_TRUE(contains(said(rank), "all 3 ranks until the end, got the end of rank 2"));
  }
}

TEST_F(RanksTraining, RankZeroIsNamedAsWell) {
  MARU_NEEDS_GLOO();
  // Only its place is special: here the last one of the program's ranks comes first.
  start("train", 1, 2);
  start("dies", {{"RANK", "0"}, {"WORLD_SIZE", "2"}, {"MARU_TEST_MISBEHAVES", "0"}});
  EXPECT_EQ(code(1), 128 + 9);
  EXPECT_EQ(code(0, seconds(90)), 1);
  EXPECT_TRUE(contains(said(0), "all 2 ranks until the end, got the end of rank 0"));
}

TEST_F(RanksTraining, ARankWithAnErrorEndsTheOthers) {
  MARU_NEEDS_GLOO();
  start_all("fails", 3);
  for (const std::size_t rank : {0u, 1u, 2u}) EXPECT_EQ(code(rank, seconds(90)), 1);
  EXPECT_TRUE(contains(said(2), "[photo.jpg] expected a picture"));
  for (const std::size_t rank : {0u, 1u}) EXPECT_TRUE(contains(said(rank), "the end of rank 2"));
}

TEST_F(RanksTraining, ARankThatStopsEndsTheOthersInTime) {
  MARU_NEEDS_GLOO();
  start_all("stops", 2);
  EXPECT_EQ(code(0, seconds(90)), 1);
  EXPECT_TRUE(
      contains(said(0), "[ranks] expected all 2 ranks to take part in time, got nothing of rank 1"));
}

TEST_F(RanksTraining, OfDifferentNetworksIsAnErrorOnAllRanks) {
  MARU_NEEDS_GLOO();
  start_all("other", 3);
  for (const std::size_t rank : {0u, 1u, 2u}) EXPECT_EQ(code(rank, seconds(90)), 1);
  for (const std::size_t rank : {0u, 1u})
    EXPECT_TRUE(
        contains(said(rank), "the same network and options on all 3 ranks, got another on rank 2"));
  EXPECT_TRUE(contains(said(2),
                       "parameter conv1/bias: 16, rate 2, decay 0\", got \"parameter conv1/bias: "
                       "16, rate 1, decay 1\" on rank 2"));
}

TEST_F(RanksTraining, ThatDriftsApartIsNoticed) {
  MARU_NEEDS_GLOO();
  start_all("drifts", 2);
  for (const std::size_t rank : {0u, 1u}) EXPECT_EQ(code(rank), 1);
  EXPECT_TRUE(contains(said(0), "the same parameters on all 2 ranks, got another on rank 1"));
}

TEST(Communicator, NamesWhoDoesNotCome) {
  MARU_NEEDS_GLOO();
  Ranks ranks;
  ranks.ranks = ranks.local_ranks = 3;
  ranks.port = testing::free_port();
  CommunicatorOptions soon;
  soon.start = std::chrono::seconds(3);  // in which rank 0 has come itself, however busy the machine
  try {
    make_communicator(ranks, soon);
    FAIL() << "nobody else is there";
  } catch (const Error& error) {
    EXPECT_TRUE(contains(error.what(), fmt::format("3 ranks at 127.0.0.1:{} within", ranks.port)));
    EXPECT_TRUE(contains(error.what(), "got none of rank 1, 2"));
  }
  ranks.rank = 1;
  soon.start = std::chrono::milliseconds(100);
  try {
    make_communicator(ranks, soon);
    FAIL() << "nobody else is there";
  } catch (const Error& error) {
    EXPECT_TRUE(contains(error.what(), fmt::format("rank 0 at 127.0.0.1:{}", ranks.port)));
  }
}

TEST(Communicator, OfOneIsNone) { EXPECT_EQ(make_communicator(Ranks()), nullptr); }

}  // namespace
}  // namespace maru
