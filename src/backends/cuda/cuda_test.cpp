// The backend without a GPU: what it makes of the facts that a driver tells, and of failures.
#include "backends/cuda/cuda.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <atomic>

#include "backends/cuda/conv_stages.h"
#include "backends/cuda/devices.h"
#include "backends/cuda/fake_module.h"
#include "backends/cuda/heaps.h"
#include "backends/cuda/launch.h"
#include "backends/cuda/provider.h"
#include "base/error.h"

namespace maru::cuda {
namespace {

using testing::FakeModule;

struct Reports {
  std::vector<Absence> all;
  DeviceOptions options() {
    DeviceOptions options;
    options.report = [this](const Absence& absence) { all.push_back(absence); };
    return options;
  }
};

std::vector<std::string> names_of(const std::vector<std::unique_ptr<Heap>>& heaps) {
  std::vector<std::string> names;
  for (const auto& heap : heaps) names.push_back(heap->name());
  return names;
}

const Heap& heap_of(const std::vector<std::unique_ptr<Heap>>& heaps, std::string_view name) {
  const auto found =
      std::ranges::find_if(heaps, [&](const auto& heap) { return heap->name() == name; });
  if (found == heaps.end()) throw std::logic_error(std::string(name) + " is not listed");
  return **found;
}

TEST(CudaDevices, AreNotThereWithoutADriver) {
  FakeModule fake;
  fake.driver = 0;
  Reports reports;
  EXPECT_TRUE(devices_of(fake.module(), reports.options()).empty());
  ASSERT_EQ(reports.all.size(), 1u);
  EXPECT_FALSE(reports.all[0].is_broken);
}

TEST(CudaDevices, WithAnOldDriverSayWhichOneTheyWant) {
  FakeModule fake;
  fake.driver = 12040;
  fake.count_code = FakeModule::kOldDriver;
  Reports reports;
  EXPECT_TRUE(devices_of(fake.module(), reports.options()).empty());
  ASSERT_EQ(reports.all.size(), 1u);
  EXPECT_TRUE(reports.all[0].is_broken);
  const std::string text = reports.all[0].why.what();
  EXPECT_NE(text.find("a driver for CUDA 13.0"), std::string::npos) << text;
  EXPECT_NE(text.find("12.4"), std::string::npos) << text;
  EXPECT_NE(text.find("cudaErrorInsufficientDriver"), std::string::npos) << text;
}

TEST(CudaDevices, OfAnOldKindAreRefused) {
  FakeModule fake;
  fake.facts.major = 6;
  fake.facts.minor = 2;
  Reports reports;
  EXPECT_TRUE(devices_of(fake.module(), reports.options()).empty());
  ASSERT_EQ(reports.all.size(), 1u);
  EXPECT_TRUE(reports.all[0].is_broken);
  EXPECT_NE(std::string(reports.all[0].why.what()).find("6.2"), std::string::npos);
}

TEST(CudaDevices, AreNamedInOrder) {
  FakeModule fake;
  fake.count = 2;
  const auto devices = devices_of(fake.module(), {});
  ASSERT_EQ(devices.size(), 2u);
  EXPECT_EQ(devices[0]->name(), "cuda");
  EXPECT_EQ(devices[1]->name(), "cuda:1");
  EXPECT_FALSE(devices[0]->is_host());
}

TEST(CudaDevices, ThatNobodyWantsAreNotOpened) {
  FakeModule fake;
  fake.count = 3;
  const auto opened_for = [&](DeviceOptions options, std::string only) {
    fake.opened.clear();
    options.only = std::move(only);
    std::vector<std::string> names;
    for (const auto& device : devices_of(fake.module(), options)) names.emplace_back(device->name());
    EXPECT_EQ(names.size(), fake.opened.size());
    return names;
  };
  using Names = std::vector<std::string>;
  EXPECT_EQ(opened_for({}, ""), (Names{"cuda", "cuda:1", "cuda:2"}));
  EXPECT_EQ(opened_for({}, "cuda"), (Names{"cuda"}));
  EXPECT_EQ(opened_for({}, "cuda:1"), (Names{"cuda:1"}));
  EXPECT_EQ(opened_for({}, "cuda:3"), Names{});
  EXPECT_EQ(opened_for({}, "auto"), (Names{"cuda"}));
  fake.code = 75;  // none computes in it
  EXPECT_EQ(opened_for({.precision = Precision::tf32}, "auto").size(), 3u);
}

TEST(CudaDevices, WithoutCodeForThemArePassedOver) {
  FakeModule fake;
  fake.code_code = 209;  // cudaErrorNoKernelImageForDevice
  Reports reports;
  EXPECT_TRUE(devices_of(fake.module(), reports.options()).empty());
  ASSERT_EQ(reports.all.size(), 1u);
  EXPECT_TRUE(reports.all[0].is_broken);
  EXPECT_NE(std::string(reports.all[0].why.what()).find("cuda:0 kernels"), std::string::npos);
}

// Translated by the driver, code of another GPU runs here, and does what it does there.
TEST(CudaDevices, DoWhatTheirCodeWasCompiledFor) {
  FakeModule fake;
  const auto capability = [&](int code) {
    fake.code = code;
    return Runtime(fake.module(), 0).code_capability();
  };
  EXPECT_EQ(capability(90), 90);
  EXPECT_EQ(capability(87), 87);
  EXPECT_EQ(capability(100), 90) << "the device's";
  fake.code = 75;
  EXPECT_FALSE(devices_of(fake.module(), {}).at(0)->computes(Precision::tf32));
  fake.code = 87;
  EXPECT_TRUE(devices_of(fake.module(), {}).at(0)->computes(Precision::tf32));
  EXPECT_EQ(conv_device(Runtime(fake.module(), 0)).capability, 87) << "no clusters";
}

TEST(CudaHeaps, OfACardAreFastOnOneSide) {
  FakeModule fake;
  const Runtime runtime(fake.module(), 0);
  const auto heaps = working_heaps(runtime);
  EXPECT_EQ(names_of(heaps),
            (std::vector<std::string>{"device", "mapped", "registered", "managed", "pinned"}));
  EXPECT_FALSE(heap_of(heaps, "device").traits().host_visible);
  const MemoryTraits& mapped = heap_of(heaps, "mapped").traits();
  EXPECT_TRUE(mapped.host_cached && mapped.coherent && mapped.concurrent && mapped.device_visible);
  EXPECT_FALSE(mapped.device_cached);
  EXPECT_TRUE(heap_of(heaps, "registered").traits().imports);
  EXPECT_TRUE(heap_of(heaps, "managed").traits().concurrent);
  EXPECT_TRUE(heap_of(heaps, "managed").traits().migrates);
  EXPECT_FALSE(mapped.migrates);
  EXPECT_FALSE(heap_of(heaps, "pinned").traits().device_visible);
  for (const char* own : {"device", "managed"})
    EXPECT_EQ(heap_of(heaps, own).traits().limit, fake.facts.memory_bytes) << own;
  for (const char* host : {"mapped", "registered", "pinned"})
    EXPECT_EQ(heap_of(heaps, host).traits().limit, host_memory_bytes()) << host;
}

TEST(CudaHeaps, OfABoardFollowTheRulesForTegra) {
  FakeModule fake;
  fake.facts = FakeModule::orin();
  const Runtime runtime(fake.module(), 0);
  const auto heaps = working_heaps(runtime);
  const MemoryTraits& mapped = heap_of(heaps, "mapped").traits();
  EXPECT_TRUE(mapped.host_cached);
  EXPECT_FALSE(mapped.device_cached);
  const MemoryTraits& managed = heap_of(heaps, "managed").traits();
  EXPECT_TRUE(managed.host_cached && managed.device_cached);
  EXPECT_FALSE(managed.concurrent || managed.coherent);
  EXPECT_FALSE(managed.migrates) << "there is one memory";
}

TEST(CudaHeaps, OfThorAreCachedByBoth) {
  FakeModule fake;
  fake.facts = FakeModule::orin();
  fake.facts.major = 11;
  fake.facts.minor = 0;
  fake.facts.pageable_memory_access = fake.facts.uses_host_page_tables = 1;
  const Runtime runtime(fake.module(), 0);
  const auto heaps = working_heaps(runtime);
  const MemoryTraits& mapped = heap_of(heaps, "mapped").traits();
  EXPECT_TRUE(mapped.host_cached && mapped.device_cached);
  const MemoryTraits& pageable = heap_of(heaps, "pageable").traits();
  EXPECT_TRUE(pageable.imports && pageable.device_cached && pageable.coherent);
}

TEST(CudaHeaps, ThatFailTheTrialAreNotListed) {
  FakeModule fake;
  fake.corrupt_kind = MARU_CUDA_MANAGED;
  {
    const Runtime runtime(fake.module(), 0);
    const auto names = names_of(working_heaps(runtime));
    EXPECT_EQ(std::ranges::count(names, "managed"), 0);
    EXPECT_EQ(std::ranges::count(names, "mapped"), 1);
  }
  fake.corrupt_kind = MARU_CUDA_DEVICE;
  Reports reports;
  EXPECT_TRUE(devices_of(fake.module(), reports.options()).empty());
  ASSERT_EQ(reports.all.size(), 1u);
  EXPECT_TRUE(reports.all[0].is_broken);
}

TEST(CudaHeaps, WithoutRoomNameTheTensorAndLiveOn) {
  FakeModule fake;
  const Runtime runtime(fake.module(), 0);
  const auto heaps = working_heaps(runtime);
  fake.memory_left = 1 << 20;
  for (const char* name : {"device", "mapped", "managed", "pinned"}) {
    const Heap& heap = heap_of(heaps, name);
    try {
      heap.allocate(std::size_t{2} << 20, "inception_3a/output");
      FAIL() << name << " gave more than there is";
    } catch (const Error& error) {
      EXPECT_NE(std::string(error.what()).find("inception_3a/output"), std::string::npos);
    }
    EXPECT_TRUE(heap.allocate(4096, "what fits"));
  }
}

TEST(CudaQueues, WithoutRoomSayHowToNeedLess) {
  FakeModule fake;
  const Runtime runtime(fake.module(), 0);
  fake.stream_create_code = FakeModule::kOutOfMemory;
  try {
    const CudaQueue queue(runtime);
    FAIL() << "there is no room for it";
  } catch (const Error& error) {
    EXPECT_NE(std::string(error.what()).find("a smaller batch"), std::string::npos) << error.what();
  }
}

TEST(CudaHeaps, GiveBackWhatTheyTook) {
  FakeModule fake;
  const Runtime runtime(fake.module(), 0);
  const auto heaps = working_heaps(runtime);
  EXPECT_TRUE(fake.live.empty());
  alignas(4096) static std::byte page[4096];
  {
    std::vector<Buffer> buffers;
    for (const auto& heap : heaps) buffers.push_back(heap->allocate(100, "a test"));
    buffers.push_back(heap_of(heaps, "registered").import(page, sizeof page));
    EXPECT_EQ(buffers.back().native(), page);
    EXPECT_EQ(fake.live.size(), heaps.size() + 1);
  }
  EXPECT_TRUE(fake.live.empty());
  EXPECT_THROW(heap_of(heaps, "mapped").import(page, sizeof page), Error);
}

TEST(CudaHeaps, TakeTheSameMemoryOfTheCallerTwice) {
  FakeModule fake;
  const Runtime runtime(fake.module(), 0);
  const auto heaps = working_heaps(runtime);
  const Heap& registered = heap_of(heaps, "registered");
  alignas(4096) static std::byte page[4096];
  {
    const Buffer first = registered.import(page, sizeof page);
    {
      const Buffer second = registered.import(page, sizeof page);
      EXPECT_EQ(second.native(), page);
    }
    EXPECT_EQ(fake.live.size(), 1u) << "the first still has it";
    EXPECT_THROW(registered.import(page, sizeof page / 2), Error) << "another piece of it";
  }
  EXPECT_TRUE(fake.live.empty());
}

TEST(CudaHeaps, TakePagesThatCanOnlyBeReadWhereTheDriverDoes) {
  alignas(4096) static const std::byte page[4096]{};
  const auto registered_as = [&](FakeModule& fake) {
    const Runtime runtime(fake.module(), 0);
    const auto heaps = working_heaps(runtime);
    const Heap& registered = heap_of(heaps, "registered");
    EXPECT_EQ(fake.read_only, std::vector<int>{0}) << "its own pages, for the trial";
    if (!registered.traits().imports_read_only) {
      EXPECT_THROW(registered.import_read_only(page, sizeof page), Error);
      EXPECT_EQ(fake.read_only.size(), 1u) << "the driver was not asked";
      return -1;
    }
    EXPECT_EQ(registered.import_read_only(page, sizeof page).native(), page);
    return fake.read_only.back();
  };
  {
    FakeModule fake;
    EXPECT_EQ(registered_as(fake), 1);
  }
  {
    FakeModule fake;
    fake.facts.registers_read_only = 0;
    EXPECT_EQ(registered_as(fake), -1);
  }
  {
    FakeModule fake;
    fake.facts.registers_read_only = 0;
    fake.facts.pageable_memory_access = fake.facts.uses_host_page_tables = 1;
    EXPECT_EQ(registered_as(fake), 0) << "no flag is needed, nor known";
  }
}

TEST(CudaHeaps, HandOverMemoryThatBothMustNotTouch) {
  FakeModule fake;
  fake.facts = FakeModule::orin();
  const Runtime runtime(fake.module(), 0);
  const auto heaps = working_heaps(runtime);
  CudaQueue queue(runtime);
  const Buffer buffer = heap_of(heaps, "managed").allocate(64, "a test");
  fake.attached.clear();
  buffer.map(Access::write);
  EXPECT_EQ(fake.attached, (std::vector<int>{MARU_CUDA_ATTACH_HOST, MARU_CUDA_ATTACH_GLOBAL}));
  fake.attached.clear();
  buffer.map(Access::read, 0, 64, &queue);
  EXPECT_EQ(fake.attached, (std::vector<int>{MARU_CUDA_ATTACH_HOST, MARU_CUDA_ATTACH_STREAM}));
}

CudaLaunch row_of(const Runtime& runtime, std::size_t launches) {
  std::vector<CudaLaunch::One> all(launches);
  for (CudaLaunch::One& one : all) one.launch.grid[0] = 1;
  return {runtime, std::move(all)};
}

TEST(CudaGraphs, KeepTheOrderOfRowsAndBranches) {
  FakeModule fake;
  const Runtime runtime(fake.module(), 0);
  CudaLaunch head = row_of(runtime, 1), left = row_of(runtime, 2), none = row_of(runtime, 0),
             right = row_of(runtime, 1), tail = row_of(runtime, 1);
  const std::vector<OrderedLaunch> launches{
      {&head, {}}, {&left, {0}}, {&none, {1}}, {&right, {0}}, {&tail, {2, 3}}};
  combine(runtime, launches, false);
  // head 0; left 1, 2; right 3; tail 4 after the last of left, through a launch of nothing, and right.
  EXPECT_EQ(fake.edges, (std::vector<std::vector<std::size_t>>{{}, {0}, {1}, {0}, {2, 3}}));
}

TEST(CudaGraphs, ShowTheirEndInAWord) {
  FakeModule fake;
  const Runtime runtime(fake.module(), 0);
  CudaLaunch head = row_of(runtime, 1);
  const std::vector<OrderedLaunch> launches{{&head, {}}};
  CudaQueue queue(runtime);
  const auto graph = combine(runtime, launches, true);
  // Waiting for the stream would fail: only the word may be asked.
  fake.stream_code = FakeModule::kLost;
  for (int run = 0; run < 3; ++run) {
    graph->run(queue);
    EXPECT_NO_THROW(queue.finish());
  }
  head.run(queue);
  EXPECT_EQ(fake.launches, 1);
  EXPECT_THROW(queue.finish(), Error) << "a launch of its own has no word";
}

TEST(CudaGraphs, OfADeviceThatGoesAwayEndInAnError) {
  FakeModule fake;
  const Runtime runtime(fake.module(), 0);
  CudaLaunch head = row_of(runtime, 1);
  const std::vector<OrderedLaunch> launches{{&head, {}}};
  CudaQueue queue(runtime);
  const auto graph = combine(runtime, launches, true);
  fake.graphs_end = false;
  fake.stream_code = FakeModule::kLost;
  graph->run(queue);
  try {
    queue.finish();
    FAIL() << "it cannot have ended";
  } catch (const Error& error) {
    const std::string text = error.what();
    EXPECT_NE(text.find("cuda:0"), std::string::npos) << text;
    EXPECT_NE(text.find("cudaErrorDevicesUnavailable"), std::string::npos) << text;
  }
}

}  // namespace
}  // namespace maru::cuda
