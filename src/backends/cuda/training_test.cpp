// What of training the CUDA device offers, and the formulas that its functions share with the CPU; all
// that needs no GPU.
#include "backends/cuda/training.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>

#include "backends/cuda/devices.h"
#include "backends/cuda/fake_module.h"
#include "backends/cuda/kernels/philox.h"
#include "backends/cuda/kernels/pool_grad.h"
#include "backends/cuda/pool_lrn_params.h"
#include "device/registry.h"
#include "ops/dropout.h"
#include "ops/lrn_grad.h"
#include "ops/pool_grad.h"
#include "ops/reduce.h"
#include "ops/unary_grad.h"
#include "tests/training_networks.h"

namespace maru::cuda {
namespace {

using maru::testing::all_losses;
using maru::testing::one_of_each;
using maru::testing::small_inception;
using maru::testing::two_losses;
using testing::FakeModule;

class CudaTraining : public ::testing::Test {
 protected:
  CudaTraining() : devices_(devices_of(fake_.module(), {})), host_(open_device("cpu", {})) {}

  std::vector<Offer> offers(const Op& op, std::vector<TensorDesc> src,
                            std::vector<bool> constants = {}) const {
    std::vector<TensorDesc> dst = op.infer(src);
    const auto constant = std::make_unique<bool[]>(src.size());
    for (std::size_t i = 0; i < src.size(); ++i) {
      constant[i] = i < constants.size() && constants[i];
      if (!constant[i]) src[i].layout = Layout::any();
    }
    for (TensorDesc& desc : dst) desc.layout = Layout::any();
    return devices_.at(0)->offers({op, src, dst, {constant.get(), src.size()}});
  }

  // Of a plan on this device, beside the CPU: what the CPU does.
  std::vector<std::string> left_to_the_cpu(const Graph& graph) const {
    const std::vector<const Device*> both{devices_.at(0).get(), host_.get()};
    PlanOptions options;
    options.check = true;
    return maru::testing::steps_elsewhere(make_plan(graph, both, options).plan);
  }

  void expect_all_planned(Graph graph, const TrainingOptions& training) {
    for (const bool accumulates : {false, true}) {
      Graph gradients = graph;
      TrainingOptions options = training;
      options.accumulate = accumulates;
      const std::vector<Parameter> parameters = build_gradients(gradients, options).parameters;
      EXPECT_EQ(left_to_the_cpu(gradients), std::vector<std::string>{});
      for (const auto solver : {Update::Solver::sgd, Update::Solver::adam}) {
        const Graph update = build_update(parameters, Update{solver}, accumulates);
        EXPECT_EQ(left_to_the_cpu(update), std::vector<std::string>{});
      }
    }
  }

 private:
  FakeModule fake_;

 protected:
  std::vector<std::unique_ptr<Device>> devices_;
  std::unique_ptr<Device> host_;
};

TEST_F(CudaTraining, LeavesNothingToTheCpu) {
  expect_all_planned(small_inception(), two_losses());
  expect_all_planned(one_of_each(), all_losses());
}

// The CPU writes photos anew for each pass: pages of a card's managed memory would move each time, and
// where other programs have filled the card that ends this one.
TEST_F(CudaTraining, UsesNoMemoryThatMigrates) {
  Graph gradients = small_inception();
  const std::vector<Parameter> parameters = build_gradients(gradients, two_losses()).parameters;
  const Graph update = build_update(parameters, Update{}, false);
  const std::vector<const Device*> both{devices_.at(0).get(), host_.get()};
  for (const MemoryPolicy policy :
       {MemoryPolicy::automatic, MemoryPolicy::copy, MemoryPolicy::zero_copy}) {
    PlanOptions options;
    options.policy = policy;
    for (const Graph* graph : {&std::as_const(gradients), &update}) {
      for (const Region& region : make_plan(*graph, both, options).plan.regions)
        EXPECT_FALSE(region.heap->traits().migrates) << static_cast<int>(policy) << ": " << region.name;
    }
  }
}

// A node whose operand is where the one before it left it must have an offer, whatever that layout is.
TEST_F(CudaTraining, HasOffersForEveryLayout) {
  for (const auto& [network, losses] :
       {std::pair{small_inception(), two_losses()}, std::pair{one_of_each(), all_losses()}}) {
    Graph graph = network;
    build_gradients(graph, losses);
    for (const Node& node : graph.nodes()) {
      if (node.op.as<Identity>() || node.op.as<Reshape>() || node.op.as<Flatten>()) continue;
      for (const Layout layout : {Layout::any(), Layout::plain(), Layout::channels_last()}) {
        std::vector<TensorDesc> src = graph.descs(node.src), dst = graph.descs(node.dst);
        const auto constant = std::make_unique<bool[]>(src.size());
        for (std::size_t i = 0; i < src.size(); ++i) {
          constant[i] = graph.value(node.src[i]).constant != nullptr;
          const bool has_choice =
              layout.kind != Layout::Kind::channels_last || src[i].shape.rank() == 4;
          if (!constant[i] && has_choice) src[i].layout = layout;
        }
        for (TensorDesc& desc : dst) desc.layout = Layout::any();
        EXPECT_FALSE(devices_.at(0)->offers({node.op, src, dst, {constant.get(), src.size()}}).empty())
            << node.op.key() << " on " << src[0].str();
      }
    }
  }
}

TEST_F(CudaTraining, ActivationsMayBeHalves) {
  const TensorDesc image = f16({2, 24, 9, 8}), pooled = f16({2, 24, 4, 4}), step = f32({1});
  const Pool pool{Pool::Kind::max, maru::testing::window(3, 2, 0)};
  EXPECT_EQ(offers(UnaryGrad{}, {image, image}).size(), 2u);
  EXPECT_EQ(offers(PoolGrad{pool, {9, 8}}, {pooled, image}).size(), 2u);
  EXPECT_EQ(offers(LrnGrad{}, {image, image}).size(), 2u);
  EXPECT_EQ(offers(Dropout{}, {image, step}).size(), 2u);
  EXPECT_EQ(offers(Reduce{}, {image}).size(), 2u);
  EXPECT_EQ(offers(Reduce{1, 1, true}, {image}).size(), 2u);
  EXPECT_EQ(offers(Reduce{2, 1}, {image}).size(), 1u);
  // A step that is a half is wrong from 2049 on.
  EXPECT_TRUE(offers(Dropout{}, {image, f16({1})}).empty());
  // A constant is f32 and plain, whatever the rest is.
  EXPECT_TRUE(offers(UnaryGrad{}, {image, image}, {false, true}).empty());
}

TEST_F(CudaTraining, UpdatesInPlace) {
  for (const auto solver : {Update::Solver::sgd, Update::Solver::adadelta}) {
    const Update update{solver};
    std::vector<TensorDesc> src(update.states() + 2, f32({16, 3, 3, 3}));
    src.insert(src.end(), {f32({1}), f32({Update::kControls})});
    const std::vector<Offer> all = offers(update, src);
    ASSERT_EQ(all.size(), 1u);
    EXPECT_TRUE(all[0].in_place);
    EXPECT_EQ(all[0].src[0], Layout::plain());
  }
}

TEST(CudaPhilox, KeepsWhatTheOperatorKeeps) {
  for (const double ratio : {0.0, 0.25, 0.5, 0.7, 0.9999999999}) {
    for (const std::int64_t seed : {std::int64_t{0}, std::int64_t{7}, std::int64_t{1} << 40}) {
      const Dropout dropout{ratio, seed};
      const DropoutTerms terms{static_cast<std::uint64_t>(seed),
                               static_cast<std::uint64_t>(std::ceil(ratio * 4294967296.0)), 1};
      for (const std::uint64_t step : {0u, 1u, 16777215u}) {
        for (std::uint64_t index = 0; index < 300; ++index)
          ASSERT_EQ(keeps(terms, step, index), dropout.keeps(step, index)) << ratio << " " << index;
      }
    }
  }
  const auto words = philox({5, 6, 7, 8}, {9, 10});
  const PhiloxWords ours = philox_words((std::uint64_t{6} << 32) + 5, (std::uint64_t{8} << 32) + 7,
                                        (std::uint64_t{10} << 32) + 9);
  EXPECT_TRUE(std::ranges::equal(words, ours.at));
}

// Every window of every case: what the operator says of its taps, and from each pixel back to it.
TEST(CudaPoolGrad, FindsTheWindowsOfAPixel) {
  for (const Operator& pooling = pool_operator(); const Case& one : pooling.cases) {
    const Pool& pool = *one.op.as<Pool>();
    const TensorDesc src = one.src[0], dst = one.op.infer(one.src)[0];
    const PoolWindow window = pool_params(pool, src, dst).window;
    const Window slid = pool.window_for(src);
    for (int axis = 0; axis < 2; ++axis) {
      const auto at = static_cast<std::size_t>(axis) + 2;
      const auto pixels = static_cast<std::int32_t>(src.shape[at]);
      const auto windows = static_cast<std::int32_t>(dst.shape[at]);
      for (std::int32_t out = 0; out < windows; ++out) {
        const Pool::Taps wanted = pool.taps(slid, at - 2, pixels, out);
        const TapSpan taps = taps_with(window, axis, pixels, out);
        EXPECT_EQ(taps.begin, wanted.begin) << one.name;
        EXPECT_EQ(taps.end, wanted.end) << one.name;
        if (pool.kind == Pool::Kind::average) {
          EXPECT_EQ(taps.counted, wanted.counted) << one.name;
        }
        for (std::int32_t pixel = 0; pixel < pixels; ++pixel) {
          const WindowSpan span = windows_with(window, axis, windows, pixel);
          EXPECT_EQ(span.first <= out && out < span.last, wanted.begin <= pixel && pixel < wanted.end)
              << one.name << " pixel " << pixel << " window " << out;
        }
      }
    }
  }
}

TEST(CudaKept, HoldsWholeVectorsOfChannels) {
  const TensorDesc image = f16({2, 19, 3, 5});
  const Kept last(image.with(Layout::channels_last().window_of(64)), 8), plain(image, 1);
  EXPECT_EQ(last.strides.channel, 1);
  EXPECT_EQ(last.strides.pixel, 24);
  EXPECT_EQ(last.strides.image, 24 * 15);
  EXPECT_EQ(last.count, 2 * 24 * 15);
  EXPECT_EQ(plain.strides.channel, 15);
  EXPECT_EQ(plain.strides.pixel, 1);
  EXPECT_EQ(plain.count, 2 * 19 * 15);
}

}  // namespace
}  // namespace maru::cuda
