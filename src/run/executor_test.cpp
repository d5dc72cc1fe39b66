#include "run/executor.h"

#include <gtest/gtest.h>

#include <array>
#include <string>

#include "base/error.h"

namespace maru {
namespace {

class FullHeap final : public Heap {
 public:
  FullHeap() : Heap("full", {}) {}

 private:
  std::unique_ptr<Allocation> do_allocate(std::size_t) const override { return nullptr; }
};

// A device whose driver has no memory left, not even for a queue.
class FullDevice final : public Device {
 public:
  std::string_view name() const override { return "full"; }
  std::string description() const override { return "without memory"; }
  std::span<const Heap* const> heaps() const override { return heaps_; }
  std::unique_ptr<Queue> make_queue() const override {
    throw Error("full", "a queue", "out of memory", "a smaller batch");
  }
  int channel_block() const override { return 1; }
  std::vector<Offer> offers(const Call&) const override { return {}; }
  std::unique_ptr<Kernel> compile(const Call&, const Offer&) const override { return nullptr; }
  double copy_seconds(double) const override { return 0; }

 private:
  FullHeap heap_;
  std::array<const Heap*, 1> heaps_{&heap_};
};

TEST(Executor, WithoutRoomNamesTheRegionAlthoughAQueueWouldNotFitEither) {
  const FullDevice device;
  const std::array devices{static_cast<const Device*>(&device)};
  Plan plan;
  plan.regions.push_back({Region::Kind::arena, "arena", device.heaps()[0], "", 4096});
  try {
    const Executor executor(plan, devices, Weights{});
    FAIL() << "there is no memory for it";
  } catch (const Error& error) {
    EXPECT_NE(std::string(error.what()).find("4096 bytes for arena"), std::string::npos)
        << error.what();
  }
}

}  // namespace
}  // namespace maru
