// Ranks on CUDA without a GPU and without NCCL: what is offered, launched and ended.
#include "backends/cuda/ranks.h"

#include <gtest/gtest.h>

#include "backends/cuda/devices.h"
#include "backends/cuda/fake_module.h"
#include "backends/cuda/heaps.h"
#include "backends/cuda/launch.h"
#include "backends/cuda/provider.h"
#include "base/error.h"
#include "ops/all_reduce.h"
#include "tests/twin.h"

namespace maru::cuda {
namespace {

using maru::testing::Twin;
using testing::FakeModule;

class CudaRanksTest : public ::testing::Test {
 protected:
  std::unique_ptr<Device> open(std::shared_ptr<Communicator> communicator) const {
    DeviceOptions options;
    options.communicator = std::move(communicator);
    auto devices = devices_of(fake_.module(), options);
    if (devices.size() != 1) throw std::logic_error("there is one device");
    return std::move(devices[0]);
  }
  static std::size_t offers(const Device& device, int ranks, DType dtype = DType::f32) {
    const std::vector<TensorDesc> descs(2, TensorDesc{dtype, {16}, Layout::plain()});
    const bool constant[] = {false, false};
    return device.offers({AllReduce{ranks}, descs, descs, constant}).size();
  }

  FakeModule fake_;
  const std::shared_ptr<Twin> twin_ = std::make_shared<Twin>();
};

TEST_F(CudaRanksTest, MeansAreOfferedToThoseWhoHaveOthers) {
  EXPECT_EQ(offers(*open(nullptr), 2), 0u);
  const auto device = open(twin_);
  EXPECT_EQ(offers(*device, 2), 1u);
  EXPECT_EQ(offers(*device, 3), 0u);
  EXPECT_EQ(offers(*device, 2, DType::f16), 0u);
  EXPECT_EQ(fake_.ranks_alive, 0) << "before somebody wants it";
}

TEST_F(CudaRanksTest, AMeanIsANodeOfTheGraph) {
  {
    const auto device = open(twin_);
    const TensorDesc desc{DType::f32, {16}, Layout::plain()};
    const std::vector<TensorDesc> descs(2, desc);
    const bool constant[] = {false, false};
    const AllReduce mean{2};
    const Call call{mean, descs, descs, constant};
    const auto offers = device->offers(call);
    ASSERT_EQ(offers.size(), 1u);
    EXPECT_TRUE(offers[0].in_place);
    const auto kernel = device->compile(call, offers[0]);
    EXPECT_EQ(fake_.ranks_alive, 1);
    const Buffer memory = device->heaps()[0]->allocate(2 * 64, "a test");
    const std::vector<Tensor> tensors{{desc, &memory, 0}, {desc, &memory, 64}};
    const auto first = kernel->bind(tensors, tensors, {}), second = kernel->bind(tensors, tensors, {});
    const std::vector<OrderedLaunch> row{{first.get(), {}}, {second.get(), {0}}};
    const auto graph = device->combine(row);
    EXPECT_EQ(fake_.edges, (std::vector<std::vector<std::size_t>>{{}, {0}}));
    EXPECT_EQ(fake_.means, 2);
    const auto queue = device->make_queue();
    graph->run(*queue);
    first->run(*queue);
    EXPECT_EQ(fake_.means, 3) << "alone it is one too";
    queue->finish();
    twin_->leave();
  }
  EXPECT_EQ(fake_.ranks_alive, 0);
  EXPECT_EQ(fake_.ranks_broken, 0);
}

TEST_F(CudaRanksTest, WithoutNcclSaysSo) {
  Runtime runtime(fake_.module(), 0);
  runtime.ranks = std::make_unique<CudaRanks>(runtime, twin_);
  fake_.nccl_code = MARU_CUDA_RANKS_FAILED;
  try {
    runtime.ranks->get();
    FAIL() << "there is no NCCL";
  } catch (const Error& error) {
    const std::string text = error.what();
    EXPECT_NE(text.find("expected NCCL 2.10.3 or later, libnccl.so.2"), std::string::npos) << text;
  }
  EXPECT_EQ(fake_.ranks_alive, 0) << "the others would wait for it";
}

// A rank that has ended never sends: without a look at the others the wait would not end.
TEST_F(CudaRanksTest, ARankThatHasEndedEndsTheWait) {
  Runtime runtime(fake_.module(), 0);
  runtime.ranks = std::make_unique<CudaRanks>(runtime, twin_);
  runtime.ranks->get();
  CudaQueue queue(runtime);
  EXPECT_NO_THROW(queue.finish());
  fake_.stream_code = FakeModule::kNotReady;
  twin_->ended = Error("ranks", "all 2 ranks until the end", "the end of rank 1 before that");
  EXPECT_THROW(queue.finish(), Error);
  // What is under way is ended, and nothing new begins.
  fake_.stream_code = 0;
  EXPECT_NO_THROW(queue.finish());
  EXPECT_THROW(runtime.ranks->get(), Error);
  CudaLaunch launch(runtime, {});
  EXPECT_THROW(launch.run(queue), Error);
  runtime.ranks.reset();
  EXPECT_EQ(fake_.ranks_alive, 0);
  EXPECT_EQ(fake_.ranks_broken, 1);
}

TEST_F(CudaRanksTest, SoDoesOneThatIsTooLate) {
  Runtime runtime(fake_.module(), 0);
  runtime.ranks = std::make_unique<CudaRanks>(runtime, twin_);
  runtime.ranks->get();
  twin_->waits = std::chrono::milliseconds(20);
  fake_.stream_code = FakeModule::kNotReady;
  CudaQueue queue(runtime);
  try {
    queue.finish();
    FAIL() << "it never ends";
  } catch (const Error& error) {
    const std::string text = error.what();
    EXPECT_NE(text.find("all 2 ranks to take part in time"), std::string::npos) << text;
  }
}

}  // namespace
}  // namespace maru::cuda
