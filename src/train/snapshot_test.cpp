#include "train/snapshot.h"

#include <gtest/gtest.h>

#include <fstream>

#include "base/error.h"
#include "import/caffemodel_writer.h"
#include "tests/files.h"

namespace maru {
namespace {

namespace fs = std::filesystem;

class SnapshotFolder : public ::testing::Test {
 protected:
  static void touch(const fs::path& path) { std::ofstream(path) << "x"; }
  void touch(std::int64_t iteration) const {
    touch(snapshot_files(prefix_, iteration).weights);
    touch(snapshot_files(prefix_, iteration).state);
  }

  const testing::Folder own_;
  const fs::path folder_ = own_.path();
  const std::string prefix_ = (folder_ / "net").string();
};

TEST_F(SnapshotFolder, TheNewestIsTheOneWithTheLargestNumberAndBothFiles) {
  EXPECT_EQ(newest_snapshot(prefix_), std::nullopt);
  EXPECT_EQ(newest_snapshot((folder_ / "none" / "net").string()), std::nullopt);
  touch(9);
  touch(100);
  touch(20);
  touch(snapshot_files(prefix_, 200).weights);  // killed before its state was written
  touch(snapshot_files(prefix_, 300).state);    // somebody has removed its weights
  touch(fs::path(prefix_ + "_iter_400x.solverstate"));
  touch(fs::path(prefix_ + "_iter_.solverstate"));
  touch(fs::path(prefix_ + "2_iter_500.solverstate"));
  EXPECT_EQ(newest_snapshot(prefix_), snapshot_files(prefix_, 100).state);
}

SolverState state_of(const std::string& weights) {
  SolverState state;
  state.iteration = 30;
  state.learned_net = weights;
  return state;
}

TEST_F(SnapshotFolder, AStateOfCaffeSaysNothingOfTheData) {
  const SnapshotFiles files = snapshot_files(prefix_, 30);
  touch(files.weights);
  write_solver_state(files.state, state_of("/moved/from/elsewhere/net_iter_30.caffemodel"));
  const Snapshot snapshot = read_snapshot(files.state);
  EXPECT_EQ(snapshot.weights, files.weights) << "beside it";
  EXPECT_EQ(snapshot.position.iteration, 30);
  EXPECT_EQ(snapshot.position.updates, 30);
  EXPECT_EQ(snapshot.position.samples, -1);
  EXPECT_FALSE(snapshot.position.scale.has_value());
}

TEST_F(SnapshotFolder, OursSaysAll) {
  const SnapshotFiles files = snapshot_files(prefix_, 30);
  touch(files.weights);
  SolverState state = state_of(files.weights.string());
  state.extras = {{"updates", "28"},
                  {"samples", "3840"},
                  {"seed", "18446744073709551615"},
                  {"loss scale", "1024"},
                  {"good", "17"}};
  write_solver_state(files.state, state);
  const TrainingPosition position = read_snapshot(files.state).position;
  EXPECT_EQ(position.updates, 28);
  EXPECT_EQ(position.samples, 3840);
  EXPECT_EQ(position.seed, 18446744073709551615u);
  EXPECT_EQ(position.scale, (LossScale{1024, 17}));
  state.extras["samples"] = "many";
  write_solver_state(files.state, state);
  EXPECT_THROW(read_snapshot(files.state), Error);
}

TEST_F(SnapshotFolder, SaysWhatIsMissing) {
  const SnapshotFiles files = snapshot_files(prefix_, 30);
  write_solver_state(files.state, state_of("net_iter_30.caffemodel"));
  try {
    read_snapshot(files.state);
    FAIL();
  } catch (const Error& error) {
    EXPECT_NE(std::string(error.what()).find("net_iter_30.caffemodel"), std::string::npos);
  }
  write_solver_state(files.state, state_of(""));
  EXPECT_THROW(read_snapshot(files.state), Error);
  touch(files.state);
  EXPECT_THROW(read_snapshot(files.state), Error);
}

}  // namespace
}  // namespace maru
