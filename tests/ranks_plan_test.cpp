// What the plan makes of gradients that go to other ranks: order, place, and what may run beside them.
// The other rank is one that has the same, so that the mean is what this one has.
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <optional>
#include <set>

#include "base/error.h"
#include "device/registry.h"
#include "ops/all_reduce.h"
#include "tests/combining_device.h"
#include "tests/ranks_training.h"
#include "tests/twin.h"

namespace maru {
namespace {

using testing::Twin;

class RanksPlan : public ::testing::Test {
 protected:
  static TrainerOptions options(std::int64_t passes, std::shared_ptr<Communicator> communicator) {
    TrainerOptions options = testing::ranks_training(passes);
    options.communicator = std::move(communicator);
    return options;
  }

  const std::shared_ptr<Twin> twin_ = std::make_shared<Twin>();
  const std::unique_ptr<Device> cpu_ = [this] {
    DeviceOptions options;
    options.threads = 1;  // the network is small, and machines that test are busy
    options.communicator = twin_;
    return open_device("cpu", options);
  }();
  const testing::CombiningDevice device_{*cpu_};
  const Device* devices_[1] = {&device_};
};

bool is_reducing(const Step& step) { return step.op.starts_with("all_reduce"); }
bool is_backward(const Step& step) { return step.op.starts_with("conv_grad"); }

// A wrong order would mix buckets up between ranks. Steps that do not wait for each other run in
// another order each time.
TEST_F(RanksPlan, BucketsGoInOneOrder) {
  Trainer trainer(testing::small_inception(), devices_, options(1, twin_));
  twin_->sums.clear();
  testing::train(trainer, 1, 0, 1);
  ASSERT_EQ(twin_->sums.size() % testing::kUpdates, 0u);
  const std::size_t buckets = twin_->sums.size() / testing::kUpdates;
  EXPECT_GE(buckets, 3u);
  EXPECT_GE(std::set(twin_->sums.begin(), twin_->sums.end()).size(), 3u);  // else order is not seen
  for (std::size_t i = buckets; i < twin_->sums.size(); ++i)
    EXPECT_EQ(twin_->sums[i], twin_->sums[i - buckets]);
}

TEST_F(RanksPlan, TheMeanOfTheSameChangesNothing) {
  for (const std::int64_t passes : {1, 2}) {
    Trainer two(testing::small_inception(), devices_, options(passes, twin_));
    Trainer one(testing::small_inception(), devices_, options(passes, nullptr));
    testing::train(two, passes, 0, 1);
    testing::train(one, passes, 0, 1);
    EXPECT_EQ(testing::states_of(two), testing::states_of(one));
  }
}

TEST_F(RanksPlan, GradientsGoWhileOthersAreComputed) {
  const Trainer trainer(testing::small_inception(), devices_, options(1, twin_));
  const std::vector<Step>& steps = trainer.plan().steps;
  std::vector<std::set<std::size_t>> before(steps.size());  // of each step, all that it follows
  std::optional<std::size_t> first, last;
  std::size_t beside = 0;
  for (std::size_t i = 0; i < steps.size(); ++i) {
    for (const std::size_t j : steps[i].after) {
      before[i].insert(j);
      before[i].insert(before[j].begin(), before[j].end());
    }
    if (is_reducing(steps[i])) {
      if (last) {
        EXPECT_TRUE(before[i].contains(*last)) << steps[i].name;
      }
      if (!first) first = i;
      last = i;
    } else if (first && is_backward(steps[i]) && !before[i].contains(*first)) {
      ++beside;
    }
  }
  ASSERT_TRUE(first.has_value());
  EXPECT_LT(*first, *last);
  EXPECT_GE(beside, 3u);  // of the eight of this network
}

// Gradients are written where their states are kept, and become means there.
TEST_F(RanksPlan, GradientsAreReducedInPlace) {
  const Trainer two(testing::small_inception(), devices_, options(1, twin_));
  const Trainer one(testing::small_inception(), devices_, options(1, nullptr));
  const Plan& plan = two.plan();
  EXPECT_EQ(plan.copied_bytes(), one.plan().copied_bytes());
  for (const Step& step : plan.steps) {
    if (!is_reducing(step)) continue;
    for (std::size_t i = 0; i + 1 < step.src.size(); ++i) {
      EXPECT_EQ(plan.regions[step.dst[i].region].kind, Region::Kind::state) << step.dst[i].name;
      EXPECT_EQ(step.src[i].region, step.dst[i].region) << step.src[i].name;
      EXPECT_EQ(step.src[i].offset, step.dst[i].offset) << step.src[i].name;
    }
  }
}

// With several passes an update, what is sent is their sum.
TEST_F(RanksPlan, GradientsThatAreAddedUpGoOnceAnUpdate) {
  const Trainer trainer(testing::small_inception(), devices_, options(3, twin_));
  EXPECT_TRUE(std::ranges::none_of(trainer.plan().steps, is_reducing));
}

TEST_F(RanksPlan, NeedsADeviceThatKnowsTheRanks) {
  const auto alone = open_device("cpu", {});
  const Device* devices[] = {alone.get()};
  try {
    const Trainer trainer(testing::small_inception(), devices, options(1, twin_));
    FAIL() << "nobody can send gradients";
  } catch (const Error& error) {
    EXPECT_NE(std::string(error.what()).find("all_reduce"), std::string::npos) << error.what();
  }
  Graph network = testing::small_inception();
  TrainingOptions training = testing::two_losses();
  training.ranks = 3;  // and the device knows two
  build_gradients(network, training);
  EXPECT_THROW(make_plan(network, *cpu_, {}), Error);
}

// The others may be anywhere by then.
TEST_F(RanksPlan, WhereNumbersBrokeIsLookedForAlone) {
  Trainer trainer(testing::small_inception(), devices_, options(1, twin_));
  std::mt19937 random(3);
  const testing::Batch batch = testing::draw_batch(random);
  std::ranges::copy(batch.data, trainer.input("data").begin());
  std::ranges::copy(batch.label, trainer.input("label").begin());
  trainer.input("label")[1] = testing::kClasses;  // no class: the losses' gradients are not numbers
  trainer.pass();
  EXPECT_FALSE(std::isfinite(trainer.update(0.1)));
  twin_->sums.clear();
  const std::optional<FirstBad> bad = trainer.find_first_bad();
  ASSERT_TRUE(bad.has_value());
  EXPECT_EQ(bad->kind, FirstBad::Kind::result);
  EXPECT_TRUE(twin_->sums.empty());
}

TEST(AllReduce, HasNoReferenceForSeveral) {
  float value = 1;
  const TensorView view{{DType::f32, {1}, Layout::plain()}, &value};
  EXPECT_THROW((AllReduce{2}.reference({&view, 1}, {&view, 1})), Error);
}

}  // namespace
}  // namespace maru
