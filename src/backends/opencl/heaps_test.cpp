#include "backends/opencl/heaps.h"

#include <sys/resource.h>
#include <unistd.h>

#include <algorithm>
#include <cstdlib>
#include <fstream>
#include <numeric>

#include "backends/opencl/test_device.h"

namespace maru::opencl {
namespace {

constexpr std::int64_t kCount = 5000;  // floats: more than a page, no multiple of a vector
constexpr std::size_t kBytes = kCount * sizeof(float);

class OpenclHeaps : public testing::OpenclTest {
 protected:
  template <class F>
  void for_shared_heaps(const F& test) {
    for (const Heap* one : device->heaps()) {
      if (!one->traits().host_visible || !one->traits().device_visible) continue;
      SCOPED_TRACE(one->name());
      test(*one);
    }
  }

  static void fill(std::span<float> values, float first) {
    std::iota(values.begin(), values.end(), first);
  }
  static void expect_affine(std::span<const float> values, float first) {
    for (std::size_t i = 0; i < values.size(); ++i) {
      ASSERT_EQ(values[i], 3 * (first + static_cast<float>(i)) + 1) << "element " << i;
    }
  }
};

TEST_F(OpenclHeaps, FirstAreOfTheDeviceThenShared) {
  ASSERT_FALSE(device->heaps().empty());
  const MemoryTraits& first = device->heaps().front()->traits();
  EXPECT_TRUE(first.device_visible && !first.host_visible);
  if (const Heap* mapped = heap("mapped")) {
    EXPECT_FALSE(mapped->traits().concurrent);
  }
  for (const Heap* one : device->heaps()) {
    EXPECT_GE(one->traits().alignment, 64u);
    EXPECT_GE(one->traits().limit, 1u << 20);
    EXPECT_TRUE(one->traits().host_visible || one->traits().device_visible);
  }
}

TEST_F(OpenclHeaps, BothSidesSeeWhatTheOtherWrote) {
  const auto kernel = affine(kCount);
  for_shared_heaps([&](const Heap& shared) {
    const Buffer src = shared.allocate(kBytes, "a test"), dst = shared.allocate(kBytes, "a test");
    const auto launch = bind_affine(*kernel, src, dst, kCount);
    const auto queue = device->make_queue();
    for (int run = 0; run < 3; ++run) {
      const auto first = static_cast<float>(run);
      // Once with the session's queue, which orders all, once without, finished by hand.
      Queue* const order = run == 1 ? nullptr : queue.get();
      fill(src.map(Access::write, 0, kBytes, order).as<float>(), first);
      queue->begin();
      launch->run(*queue);
      if (order == nullptr) queue->finish();
      expect_affine(dst.map(Access::read, 0, kBytes, order).as<float>(), first);
    }
    queue->finish();
  });
}

// Long enough that a view which did not wait would see old values, or the kernels new ones too early.
TEST_F(OpenclHeaps, ViewsOfASessionWaitForItsKernelsAndTheyForThem) {
  constexpr std::int64_t kMany = 1 << 20;
  constexpr std::size_t kLast = kMany - 1;
  const auto kernel = affine(kMany);
  for_shared_heaps([&](const Heap& shared) {
    const Buffer a = shared.allocate(kMany * sizeof(float), "a test");
    const Buffer b = shared.allocate(kMany * sizeof(float), "a test");
    const auto forth = bind_affine(*kernel, a, b, kMany), back = bind_affine(*kernel, b, a, kMany);
    const auto queue = device->make_queue();
    for (int run = 0; run < 3; ++run) {
      std::ranges::fill(a.map(Access::write, 0, a.bytes(), queue.get()).as<float>(), 1.0F);
      for (int times = 0; times < 3; ++times) {
        forth->run(*queue);
        back->run(*queue);
      }
      ASSERT_EQ(a.map(Access::read, 0, a.bytes(), queue.get()).as<float>()[kLast], 1093.0F);
      a.map(Access::read_write, kLast * sizeof(float), sizeof(float), queue.get()).as<float>()[0] = 2;
      forth->run(*queue);
      ASSERT_EQ(b.map(Access::read, 0, b.bytes(), queue.get()).as<float>()[kLast], 7.0F);
    }
    queue->finish();
  });
}

TEST_F(OpenclHeaps, ViewsAreRangesAndSeveralMayBeOpen) {
  for_shared_heaps([&](const Heap& shared) {
    const Buffer buffer = shared.allocate(kBytes, "a test");
    fill(buffer.map(Access::write).as<float>(), 0);
    {
      const HostView low = buffer.map(Access::read_write, 0, 400);
      const HostView high = buffer.map(Access::read, 1000 * sizeof(float), 400);
      ASSERT_EQ(low.bytes().size(), 400u);
      EXPECT_EQ(low.as<float>()[99], 99);
      EXPECT_EQ(high.as<float>()[0], 1000);
      low.as<float>()[5] = -1;
    }
    const HostView view = buffer.map(Access::read);
    EXPECT_EQ(view.as<float>()[4], 4);
    EXPECT_EQ(view.as<float>()[5], -1);
    EXPECT_EQ(view.as<float>()[1050], 1050);
    EXPECT_THROW(buffer.map(Access::read, kBytes, 1), Error);
    EXPECT_TRUE(buffer.map(Access::read, kBytes, 0).bytes().empty());
  });
}

TEST_F(OpenclHeaps, ConcurrentOnesKeepTheirViewWhileKernelsRun) {
  const auto kernel = affine(kCount);
  for_shared_heaps([&](const Heap& shared) {
    if (!shared.traits().concurrent) return;
    const Buffer src = shared.allocate(kBytes, "a test"), dst = shared.allocate(kBytes, "a test");
    const HostView in = src.map(Access::write), out = dst.map(Access::read);
    const auto launch = bind_affine(*kernel, src, dst, kCount);
    const auto queue = device->make_queue();
    for (int run = 0; run < 2; ++run) {
      fill(in.as<float>(), static_cast<float>(run));
      launch->run(*queue);
      queue->finish();
      expect_affine(out.as<float>(), static_cast<float>(run));
    }
  });
}

TEST_F(OpenclHeaps, MemoryOfTheCallerIsUsedWhereItStands) {
  const Heap* imported = heap("imported");
  if (imported == nullptr) GTEST_SKIP() << "this driver takes no memory of the caller";
  const std::size_t bytes = (kBytes + 4095) / 4096 * 4096;
  const std::unique_ptr<float, decltype(&std::free)> mine(
      static_cast<float*>(std::aligned_alloc(4096, bytes)), &std::free);
  const auto kernel = affine(kCount);
  const Buffer dst = imported->allocate(kBytes, "a test");
  fill({mine.get(), kCount}, 7);
  {
    const Buffer src = imported->import(mine.get(), bytes);
    const auto queue = device->make_queue();
    const auto launch = bind_affine(*kernel, src, dst, kCount);
    launch->run(*queue);
    queue->finish();
    expect_affine(dst.map(Access::read).as<float>(), 7);
    {
      const HostView view = src.map(Access::read_write);
      EXPECT_EQ(view.as<float>().data(), mine.get()) << "a copy stands elsewhere";
      fill({mine.get(), kCount}, 70);
    }
    launch->run(*queue);
    queue->finish();
    expect_affine(dst.map(Access::read).as<float>(), 70);
  }
  // And written there.
  const Buffer into = imported->import(mine.get(), bytes);
  const Buffer from = imported->allocate(kBytes, "a test");
  fill(from.map(Access::write).as<float>(), 5);
  const auto queue = device->make_queue();
  bind_affine(*kernel, from, into, kCount)->run(*queue);
  queue->finish();
  const HostView view = into.map(Access::read);
  expect_affine({mine.get(), kCount}, 5);
  EXPECT_THROW(imported->import(mine.get() + 1, 64), Error);
}

TEST_F(OpenclHeaps, TransfersGoBetweenDeviceAndHost) {
  const Heap& own = *device->heaps().front();
  ASSERT_FALSE(own.traits().host_visible);
  const Heap* pinned = heap("pinned");
  ASSERT_NE(pinned, nullptr);
  EXPECT_FALSE(pinned->traits().device_visible);
  const auto kernel = affine(kCount);
  const auto queue = device->make_queue();
  const std::size_t gap = 256;
  const Buffer host = pinned->allocate(kBytes + gap, "a test");
  const Buffer src = own.allocate(kBytes + gap, "a test"), dst = own.allocate(kBytes, "a test");
  fill(host.map(Access::write, gap, kBytes).as<float>(), 2);
  device->transfer(*queue, host, gap, src, gap, kBytes);
  bind_affine(*kernel, src, dst, kCount, gap)->run(*queue);
  device->transfer(*queue, dst, 0, host, 0, kBytes);
  expect_affine(host.map(Access::read, 0, kBytes).as<float>(), 2);
  EXPECT_THROW(src.map(Access::read), Error);
}

TEST_F(OpenclHeaps, TransfersReachWhatBothSeeToo) {
  const Heap& own = *device->heaps().front();
  const auto queue = device->make_queue();
  for_shared_heaps([&](const Heap& shared) {
    const Buffer from = shared.allocate(kBytes, "a test"), to = shared.allocate(kBytes, "a test");
    const Buffer between = own.allocate(kBytes, "a test");
    fill(from.map(Access::write).as<float>(), 4);
    device->transfer(*queue, from, 0, between, 0, kBytes);
    device->transfer(*queue, between, 0, to, 0, kBytes);
    EXPECT_EQ(to.map(Access::read).as<float>()[kCount - 1], 4.0F + kCount - 1);
  });
}

TEST_F(OpenclHeaps, SaysForWhatThereWasNotEnough) {
  for (const Heap* one : device->heaps()) {
    if (one->traits().limit == std::numeric_limits<std::size_t>::max()) continue;
    try {
      one->allocate(one->traits().limit + 1, "the arena");
      FAIL() << "expected an error";
    } catch (const Error& error) {
      EXPECT_NE(std::string(error.what()).find("for the arena"), std::string::npos);
    }
  }
}

// In a process of its own, whose address space is then too small.
TEST_F(OpenclHeaps, SaysSoToWhereTheSystemHasNoMore) {
  ::testing::FLAGS_gtest_death_test_style = "threadsafe";
  // AddressSanitizer's malloc ends the process instead, unless told.
  const char* options = std::getenv("ASAN_OPTIONS");
  ::setenv("ASAN_OPTIONS",
           fmt::format("{}:allocator_may_return_null=1", options ? options : "").c_str(), 1);
  const auto allocate = [&] {
    std::size_t pages = 0;
    std::ifstream("/proc/self/statm") >> pages;
    const rlim_t used = pages * static_cast<std::size_t>(::sysconf(_SC_PAGESIZE));
    const rlimit limit{used + (rlim_t{64} << 20), RLIM_INFINITY};
    ::setrlimit(RLIMIT_AS, &limit);
    int refused = 0;
    for (const Heap* one : device->heaps()) {
      try {
        one->allocate(std::size_t{256} << 20, "the arena");
      } catch (const Error& error) {
        refused += std::string(error.what()).find("for the arena") != std::string::npos ? 1 : 0;
      }
    }
    std::_Exit(refused == static_cast<int>(device->heaps().size()) ? 0 : 1 + refused);
  };
  EXPECT_EXIT(allocate(), ::testing::ExitedWithCode(0), "");
}

}  // namespace
}  // namespace maru::opencl
