// What a training loop does when it is asked for something, and how its tests come by their photos.
#include "train/training_loop.h"

#include <gtest/gtest.h>

#include "data/test_files.h"
#include "device/registry.h"
#include "tests/split_device.h"

namespace maru {
namespace {

using namespace data::testing_files;

struct Loops : ::testing::Test {
  Loops() {
    std::string list;
    for (int i = 0; i < 8; ++i) {
      const std::string name = fmt::format("{}.ppm", i);
      folder.write(name, photo(i));
      list += fmt::format("{} {}\n", name, i % 2);
    }
    folder.write("list.txt", list);
  }

  TrainingLoopOptions options(const Device& device, const std::string& solver,
                              int test_batch = 3) const {
    const auto data = [&](std::string_view phase, int batch) {
      return fmt::format(
          "layer {{ name: \"d\" type: \"ImageData\" top: \"data\" top: \"label\" include {{ phase: {} "
          "}} "
          "image_data_param {{ source: \"{}\" batch_size: {} }} transform_param {{ scale: 0.01 }} }}\n",
          phase, folder.path("list.txt").string(), batch);
    };
    folder.write(
        "net.prototxt",
        data("TRAIN", 4) + data("TEST", test_batch) +
            "layer { name: \"ip\" type: \"InnerProduct\" bottom: \"data\" top: \"ip\" "
            "inner_product_param { num_output: 2 weight_filler { type: \"xavier\" } } }\n"
            "layer { name: \"loss\" type: \"SoftmaxWithLoss\" bottom: \"ip\" bottom: \"label\" "
            "top: \"loss\" }\n");
    TrainingLoopOptions options;
    options.solver =
        read_caffe_solver(folder.write("solver.prototxt",
                                       "net: \"net.prototxt\"\nbase_lr: 0.01\nlr_policy: \"fixed\"\n"
                                       "snapshot_after_train: false\n" +
                                           solver));
    options.devices = {&device};
    options.prefix = folder.path("of").string();
    options.seed = 1;
    options.whole_tests = true;
    return options;
  }

  Folder folder;
};

// Asks once for a snapshot: at its so manyth question, or after an update.
struct Asking : TrainingObserver {
  Asked asks() override {
    if (++questions == at_question) wants = true;
    return std::exchange(wants, false) ? Asked::snapshot : Asked::nothing;
  }
  void ran(const TrainingFigures& figures) override {
    if (figures.iteration == after_update) wants = true;
  }
  void saved(const SnapshotFiles&, double) override { ++snapshots; }

  int at_question = 0, questions = 0, snapshots = 0;
  std::int64_t after_update = 0;
  bool wants = false;
};

TEST_F(Loops, HearAWishInAnyPassOfAnUpdate) {
  const auto device = open_device("cpu", {});
  for (int question = 1; question <= 3; ++question) {
    TrainingLoop loop(options(*device, "max_iter: 2\niter_size: 3\n"));
    Asking observer;
    observer.at_question = question;
    const TrainingOutcome outcome = loop.run(observer);
    EXPECT_EQ(observer.snapshots, 1) << question;
    ASSERT_TRUE(outcome.snapshot) << question;
    EXPECT_NE(outcome.snapshot->state.string().find("_iter_1."), std::string::npos)
        << outcome.snapshot->state;
  }
}

TEST_F(Loops, HearAWishDuringTheLastUpdate) {
  const auto device = open_device("cpu", {});
  for (const char* more : {"", "display: 1\n"}) {
    TrainingLoop loop(options(*device, std::string("max_iter: 2\n") + more));
    Asking observer;
    observer.after_update = 2;
    const TrainingOutcome outcome = loop.run(observer);
    EXPECT_EQ(observer.snapshots, 1);
    EXPECT_EQ(outcome.last.iteration, 2);
  }
}

struct Testing : TrainingObserver {
  void tested(std::size_t, const TrainingFigures&, const Evaluator::Figures& means, double) override {
    for (const auto& [name, mean] : means) all.push_back(mean);
  }
  std::vector<double> all;
};

// 8 photos are two batches of 3 and one of 2, which has a plan of its own.
TEST_F(Loops, TestEachPhotoOnceWhateverTheBatch) {
  const auto cpu = open_device("cpu", {});
  const testing::SplitDevice split;
  for (const Device* device :
       {static_cast<const Device*>(cpu.get()), static_cast<const Device*>(&split)}) {
    const auto means = [&](int batch) {
      TrainingLoopOptions how =
          options(*device, "max_iter: 4\ntest_iter: 1\ntest_interval: 2\n", batch);
      how.policy = device->is_host() ? MemoryPolicy::automatic : MemoryPolicy::copy;
      TrainingLoop loop(how);
      Testing observer;
      EXPECT_EQ(loop.run(observer).ended, TrainingOutcome::Ended::finished);
      return observer.all;
    };
    const std::vector<double> whole = means(8), parts = means(3);
    ASSERT_EQ(whole.size(), 3U) << device->name();
    ASSERT_EQ(parts.size(), 3U);
    for (std::size_t i = 0; i < whole.size(); ++i) EXPECT_NEAR(parts[i], whole[i], 1e-5) << i;
    EXPECT_NE(whole[0], whole[1]) << "training changed nothing: tests cannot be told apart";
  }
}

}  // namespace
}  // namespace maru
