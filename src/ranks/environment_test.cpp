#include "ranks/environment.h"

#include <gtest/gtest.h>

#include <cstdlib>
#include <initializer_list>
#include <utility>

#include "base/error.h"

namespace maru {
namespace {

class RanksFromEnvironment : public ::testing::Test {
 protected:
  void SetUp() override {
    for (const char* name :
         {"RANK", "WORLD_SIZE", "LOCAL_RANK", "LOCAL_WORLD_SIZE", "OMPI_COMM_WORLD_RANK",
          "OMPI_COMM_WORLD_SIZE", "OMPI_COMM_WORLD_LOCAL_RANK", "OMPI_COMM_WORLD_LOCAL_SIZE",
          "PMI_RANK", "PMI_SIZE", "MPI_LOCALRANKID", "MPI_LOCALNRANKS", "MASTER_ADDR", "MASTER_PORT",
          "TORCHELASTIC_USE_AGENT_STORE", "TORCHELASTIC_RUN_ID", "PMIX_NAMESPACE",
          "OMPI_MCA_ess_base_jobid"})
      ::unsetenv(name);
  }

  static Ranks read(std::initializer_list<std::pair<const char*, const char*>> set) {
    for (const auto& [name, value] : set) ::setenv(name, value, 1);
    return ranks_from_environment();
  }
  static std::string error(std::initializer_list<std::pair<const char*, const char*>> set) {
    try {
      read(set);
    } catch (const Error& error) {
      return error.what();
    }
    return "none";
  }
};

TEST_F(RanksFromEnvironment, IsOneWhereNothingIsSet) {
  const Ranks ranks = ranks_from_environment();
  EXPECT_EQ(ranks.rank, 0);
  EXPECT_EQ(ranks.ranks, 1);
}

TEST_F(RanksFromEnvironment, ReadsThatOfTorchrun) {
  const Ranks ranks = read({{"RANK", "5"},
                            {"WORLD_SIZE", "8"},
                            {"LOCAL_RANK", "1"},
                            {"LOCAL_WORLD_SIZE", "4"},
                            {"MASTER_ADDR", "10.0.0.1"},
                            {"MASTER_PORT", "1234"},
                            {"TORCHELASTIC_RUN_ID", "job"}});
  EXPECT_EQ(ranks.rank, 5);
  EXPECT_EQ(ranks.ranks, 8);
  EXPECT_EQ(ranks.local_rank, 1);
  EXPECT_EQ(ranks.local_ranks, 4);
  EXPECT_EQ(ranks.address, "10.0.0.1");
  EXPECT_EQ(ranks.port, 1234);
  EXPECT_EQ(ranks.job, "job");
}

TEST_F(RanksFromEnvironment, LeavesItsPortToTorchrun) {
  EXPECT_EQ(read({{"RANK", "0"},
                  {"WORLD_SIZE", "2"},
                  {"MASTER_PORT", "29500"},
                  {"TORCHELASTIC_USE_AGENT_STORE", "True"}})
                .port,
            29501);
}

TEST_F(RanksFromEnvironment, ReadsThatOfMpirun) {
  const Ranks ranks = read({{"OMPI_COMM_WORLD_RANK", "1"},
                            {"OMPI_COMM_WORLD_SIZE", "2"},
                            {"OMPI_COMM_WORLD_LOCAL_RANK", "1"},
                            {"OMPI_COMM_WORLD_LOCAL_SIZE", "2"}});
  EXPECT_EQ(ranks.rank, 1);
  EXPECT_EQ(ranks.ranks, 2);
  EXPECT_EQ(ranks.local_rank, 1);
  EXPECT_EQ(ranks.address, "127.0.0.1");
  EXPECT_EQ(ranks.port, Ranks::kPort);
}

TEST_F(RanksFromEnvironment, ReadsThatOfMpich) {
  const Ranks ranks = read({{"PMI_RANK", "2"}, {"PMI_SIZE", "3"}, {"MPI_LOCALRANKID", "2"}});
  EXPECT_EQ(ranks.rank, 2);
  EXPECT_EQ(ranks.ranks, 3);
  EXPECT_EQ(ranks.local_rank, 2);
}

TEST_F(RanksFromEnvironment, RefusesHalfASetAndNonsense) {
  EXPECT_NE(error({{"RANK", "1"}}).find("both RANK and WORLD_SIZE, or neither, got only RANK"),
            std::string::npos);
  EXPECT_NE(error({{"RANK", "2"}, {"WORLD_SIZE", "2"}}).find("[RANK] expected a number from 0 to 1"),
            std::string::npos);
  EXPECT_NE(error({{"RANK", "one"}}).find("got \"one\""), std::string::npos);
  EXPECT_NE(error({{"RANK", "0"}, {"WORLD_SIZE", "0"}}).find("[WORLD_SIZE]"), std::string::npos);
  EXPECT_NE(error({{"WORLD_SIZE", "2"}, {"MASTER_PORT", "70000"}}).find("[MASTER_PORT]"),
            std::string::npos);
}

TEST_F(RanksFromEnvironment, OfSeveralMachinesNeedsTheFirstOne) {
  EXPECT_NE(error({{"OMPI_COMM_WORLD_RANK", "1"},
                   {"OMPI_COMM_WORLD_SIZE", "4"},
                   {"OMPI_COMM_WORLD_LOCAL_SIZE", "2"}})
                .find("[MASTER_ADDR] expected the machine of rank 0, since 2 of 4"),
            std::string::npos);
}

TEST(OwnGpu, IsThePartOfTheList) {
  Ranks ranks;
  EXPECT_EQ(own_gpu(ranks, nullptr), "");
  ranks.ranks = 4;
  ranks.local_ranks = 2;
  ranks.local_rank = 1;
  EXPECT_EQ(own_gpu(ranks, nullptr), "1");
  EXPECT_EQ(own_gpu(ranks, "4,GPU-abc,6"), "GPU-abc");
  EXPECT_EQ(own_gpu(ranks, "3"), "");
  EXPECT_EQ(own_gpu(ranks, ""), "");
  ranks.local_ranks = 3;
  EXPECT_THROW(own_gpu(ranks, "0,1"), Error);
}

}  // namespace
}  // namespace maru
