#include "backends/cpu/host_heap.h"

#include <gtest/gtest.h>

#include <array>

#include "base/error.h"

namespace maru::cpu {
namespace {

TEST(HostHeap, GivesAlignedMemoryThatReadsAsZero) {
  const HostHeap heap;
  const Buffer buffer = heap.allocate(1000, "a test");
  EXPECT_EQ(reinterpret_cast<std::uintptr_t>(buffer.native()) % heap.traits().alignment, 0u);
  const HostView view = buffer.map(Access::read_write);
  ASSERT_EQ(view.bytes().size(), 1000u);
  for (const std::byte byte : view.bytes()) EXPECT_EQ(byte, std::byte{0});
}

TEST(HostHeap, ViewsAreRangesOfTheSameBytes) {
  const HostHeap heap;
  const Buffer buffer = heap.allocate(64, "a test");
  buffer.map(Access::write, 8, 4).as<float>()[0] = 1.5f;
  EXPECT_EQ(buffer.map(Access::read).as<float>()[2], 1.5f);
  EXPECT_THROW(buffer.map(Access::read, 60, 5), Error);
  EXPECT_THROW(buffer.map(Access::read, 65, 0), Error);
}

TEST(HostHeap, SaysForWhatThereWasNotEnough) {
  const HostHeap heap;
  try {
    heap.allocate(heap.traits().limit + 1, "the arena");
    FAIL() << "expected an error";
  } catch (const Error& error) {
    EXPECT_NE(std::string(error.what()).find("for the arena"), std::string::npos);
  }
}

TEST(HostHeap, UsesACallersMemoryWhereItStands) {
  const HostHeap heap;
  alignas(64) std::array<float, 16> mine{};
  const Buffer buffer = heap.import(mine.data(), sizeof mine);
  buffer.map(Access::write).as<float>()[3] = 7;
  EXPECT_EQ(mine[3], 7);
  EXPECT_THROW(heap.import(&mine[1], 4), Error) << "not aligned";
  EXPECT_THROW(heap.import(nullptr, 4), Error);
}

// Memory of a device alone is never shown to the CPU.
TEST(Heap, WhatTheHostCannotSeeItCannotMap) {
  class Allocated final : public Allocation {
   public:
    void* native() const noexcept override { return nullptr; }
    void* map(Access, std::size_t, std::size_t, Queue*) override { return nullptr; }
    void unmap(void*, Access, std::size_t, Queue*) noexcept override {}
  };
  class DeviceHeap final : public Heap {
   public:
    DeviceHeap() : Heap("device", {}) {}

   protected:
    std::unique_ptr<Allocation> do_allocate(std::size_t) const override {
      return std::make_unique<Allocated>();
    }
  };
  const DeviceHeap heap;
  const Buffer buffer = heap.allocate(16, "a test");
  EXPECT_THROW(buffer.map(Access::read), Error);
  EXPECT_THROW(heap.import(const_cast<DeviceHeap*>(&heap), 16), Error);
}

}  // namespace
}  // namespace maru::cpu
