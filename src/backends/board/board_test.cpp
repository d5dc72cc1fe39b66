// The boards' memory is as strict as what it stands for: else tests on it would prove nothing.
#include "backends/board/board.h"

#include <gtest/gtest.h>

#include "backends/board/memory.h"
#include "base/error.h"
#include "device/registry.h"
#include "ops/identity.h"

namespace maru::board {
namespace {

constexpr std::size_t kBytes = 4096;

HeapProfile heap(CpuMay may, bool host_cached = true, bool moves = false) {
  HeapProfile profile;
  profile.name = "test";
  profile.cpu_may = may;
  profile.moves = moves;
  profile.traits.host_visible = may != CpuMay::never;
  profile.traits.host_cached = host_cached;
  profile.traits.device_visible = profile.traits.device_cached = true;
  profile.traits.coherent = profile.traits.concurrent = may == CpuMay::always;
  return profile;
}

TEST(BoardMemory, IsStaleUntilItIsMapped) {
  BoardMemory memory;
  const BoardHeap kind(memory, heap(CpuMay::when_mapped, true, true));
  const Buffer buffer = kind.allocate(kBytes, "a test");
  std::byte* device = memory.on_device(buffer);
  std::byte* first = nullptr;
  {
    const HostView view = buffer.map(Access::write);
    view.bytes()[0] = std::byte{7};
    EXPECT_NE(device[0], std::byte{7}) << "the device sees what was not handed over";
    first = view.bytes().data();
  }
  EXPECT_EQ(device[0], std::byte{7});
  {
    const HostView view = buffer.map(Access::read);
    EXPECT_NE(view.bytes().data(), first) << "the address may be another at each map";
    device[0] = std::byte{9};
    EXPECT_EQ(view.bytes()[0], std::byte{7}) << "the CPU sees what the device wrote after the map";
  }
  EXPECT_EQ(buffer.map(Access::read).bytes()[0], std::byte{9});
}

TEST(BoardMemory, OfTheDeviceAloneIsNotMapped) {
  BoardMemory memory;
  const BoardHeap kind(memory, heap(CpuMay::never));
  EXPECT_THROW(kind.allocate(kBytes, "a test").map(Access::read), Error);
}

TEST(BoardMemory, CountsReadsThatNoCacheHolds) {
  BoardMemory memory;
  const BoardHeap uncached(memory, heap(CpuMay::always, false)), cached(memory, heap(CpuMay::always));
  const Buffer slow = uncached.allocate(kBytes, "a test"), fast = cached.allocate(kBytes, "a test");
  slow.map(Access::write);
  fast.map(Access::read);
  EXPECT_EQ(memory.uncached_reads(), 0U);
  slow.map(Access::read, 0, 100);
  EXPECT_EQ(memory.uncached_reads(), 100U);
}

TEST(BoardMemoryDeathTest, ManagedMemoryIsTheDevicesWhileItWorks) {
  BoardMemory memory;
  const BoardHeap kind(memory, heap(CpuMay::when_idle));
  const Buffer buffer = kind.allocate(kBytes, "a test");
  const HostView view = buffer.map(Access::read_write);
  view.bytes()[0] = std::byte{1};
  memory.device_starts();
  EXPECT_DEATH(view.bytes()[0] = std::byte{2}, "");
  memory.on_device(buffer)[0] = std::byte{3};
  memory.device_ends();
  EXPECT_EQ(view.bytes()[0], std::byte{3});
}

TEST(BoardMemoryDeathTest, TheDevicesHandleLeadsTheCpuNowhere) {
  BoardMemory memory;
  const BoardHeap kind(memory, heap(CpuMay::always));
  const Buffer buffer = kind.allocate(kBytes, "a test");
  EXPECT_DEATH(*static_cast<std::byte*>(buffer.native()) = std::byte{1}, "");
}

TEST(BoardMemoryDeathTest, AnAddressEndsWithItsMap) {
  BoardMemory memory;
  const BoardHeap kind(memory, heap(CpuMay::when_mapped, true, true));
  const Buffer buffer = kind.allocate(kBytes, "a test");
  std::byte* late = buffer.map(Access::write).bytes().data();
  EXPECT_DEATH(*late = std::byte{1}, "");
}

// Work begins when it is waited for, and not before.
TEST(BoardDevice, WorksWhenItIsWaitedFor) {
  const auto device = open_device("board:thor", {});
  const Heap& pinned = *device->heaps()[1];
  ASSERT_TRUE(pinned.traits().concurrent);
  const Buffer from = pinned.allocate(kBytes, "a test"), to = pinned.allocate(kBytes, "a test");
  const TensorDesc desc{DType::f32, {1, 1, 1, 4}, Layout::plain()};
  const TensorDesc src[] = {desc}, dst[] = {desc};
  const bool constant[] = {false};
  const Op op = Identity{};
  const Call call{op, src, dst, constant};
  const auto kernel = device->compile(call, device->offers(call).at(0));
  const Tensor in[] = {{desc, &from, 0}}, out[] = {{desc, &to, 0}};
  const auto launch = kernel->bind(in, out, {});
  const auto queue = device->make_queue();
  from.map(Access::write).as<float>()[0] = 5;
  launch->run(*queue);
  EXPECT_EQ(to.map(Access::read).as<float>()[0], 0);
  queue->finish();
  EXPECT_EQ(to.map(Access::read).as<float>()[0], 5);
}

TEST(BoardProfiles, AreOpenedByNameAlone) {
  for (const auto& device : all_devices({1})) EXPECT_FALSE(device->name().starts_with("board"));
  EXPECT_EQ(open_device("board:tk1", {})->name(), "board:tk1");
  try {
    open_device("board:tk9", {});
    FAIL();
  } catch (const Error& error) {
    EXPECT_NE(std::string(error.what()).find("board:orin"), std::string::npos) << error.what();
  }
}

TEST(BoardProfiles, GiveEveryFigureWithinItsRange) {
  EXPECT_EQ(profile_texts().size(), 10U);
  for (const std::string_view text : profile_texts()) {
    const Profile profile = parse_profile(text);
    const MachineSpeed &middle = profile.model.expected, &best = profile.model.best,
                       &worst = profile.model.worst;
    EXPECT_GE(best.device_flops, middle.device_flops);
    EXPECT_GE(middle.device_flops, worst.device_flops);
    EXPECT_GT(worst.device_flops, 0);
    EXPECT_LE(best.memory.wait_seconds, worst.memory.wait_seconds);
    for (std::size_t i = 0; i < profile.heaps.size(); ++i) {
      const MemoryTraits& traits = profile.heaps[i].traits;
      const HeapSpeed& speed = middle.memory.heaps[i];
      EXPECT_EQ(speed.host_read > 0, traits.host_visible) << profile.name;
      EXPECT_EQ(speed.host_write > 0, traits.host_visible) << profile.name;
      EXPECT_EQ(speed.device_read > 0, traits.device_visible) << profile.name;
      EXPECT_EQ(speed.device_write > 0, traits.device_visible) << profile.name;
    }
  }
  EXPECT_THROW(parse_profile("{\"name\": \"x\"}"), Error);
}

}  // namespace
}  // namespace maru::board
