// Session::run() allocates nothing. Counted are calls of operator new from anywhere in the process
// while a run is under way, but for those that oneDNN makes itself inside dnnl_primitive_execute (seven
// small ones a call in 2.6), which no caller can avoid and which are reported apart.
#include <dlfcn.h>
#include <dnnl.h>
#include <gtest/gtest.h>
#include <maru/maru.h>
#include <unistd.h>

#include <atomic>
#include <cstdlib>
#include <new>

#include "plan/planner.h"
#include "run/executor.h"
#include "tests/boards.h"
#include "tests/combining_device.h"
#include "tests/shared.h"
#include "tests/split_device.h"
#include "tests/tiny_model.h"

namespace {

std::atomic<bool> counting{false};
std::atomic<int> own{0}, onednns{0};
std::atomic<bool> inside_onednn{false};  // of the one session here; its OpenMP threads count too

void* counted(std::size_t bytes) {
  if (counting) ++(inside_onednn ? onednns : own);
  if (void* memory = std::malloc(bytes == 0 ? 1 : bytes)) return memory;
  throw std::bad_alloc();
}

}  // namespace

void* operator new(std::size_t bytes) { return counted(bytes); }
void* operator new[](std::size_t bytes) { return counted(bytes); }
void operator delete(void* memory) noexcept { std::free(memory); }
void operator delete[](void* memory) noexcept { std::free(memory); }
void operator delete(void* memory, std::size_t) noexcept { std::free(memory); }
void operator delete[](void* memory, std::size_t) noexcept { std::free(memory); }

// Stands in front of oneDNN's own.
extern "C" __attribute__((visibility("default"))) dnnl_status_t dnnl_primitive_execute(
    const_dnnl_primitive_t primitive, dnnl_stream_t stream, int count,
    const dnnl_exec_arg_t* arguments) {
  using Execute = dnnl_status_t (*)(const_dnnl_primitive_t, dnnl_stream_t, int, const dnnl_exec_arg_t*);
  static const auto real = reinterpret_cast<Execute>(::dlsym(RTLD_NEXT, "dnnl_primitive_execute"));
  inside_onednn = true;
  const dnnl_status_t status = real(primitive, stream, count, arguments);
  inside_onednn = false;
  return status;
}

namespace maru {
namespace {

void expect_no_allocation(Session& session) {
  session.run();  // the first run may start OpenMP's threads
  own = 0;
  onednns = 0;
  counting = true;
  for (int i = 0; i < 3; ++i) session.run();
  counting = false;
  EXPECT_EQ(own, 0);
  EXPECT_GT(onednns, 0) << "the counter does not see oneDNN: the test would pass for any run";
}

TEST(Allocation, ARunOfATinyNetworkAllocatesNothing) {
  const auto folder =
      std::filesystem::temp_directory_path() / ("maru_allocation_" + std::to_string(::getpid()));
  ModelOptions options;
  options.batch = 2;
  const Model model = Model::load(testing::write_tiny_model(folder), options);
  std::filesystem::remove_all(folder);
  Session session(model);
  for (std::int64_t slot = 0; slot < 2; ++slot) {
    for (std::uint8_t& level : session.photo(50, 40, slot)) level = 100;
  }
  expect_no_allocation(session);
}

TEST(Allocation, ARunOfGoogLeNetAllocatesNothing) {
  MARU_NEEDS_SHARED("models/bvlc_googlenet");
  const Model model = Model::load(testing::shared_folder() / "models/bvlc_googlenet");
  Session session(model);
  for (std::uint8_t& level : session.photo(320, 240)) level = 100;
  expect_no_allocation(session);
}

// Computes nothing, so that what is counted is the executor's; in memory of the device it wraps.
class IdleDevice final : public Device {
 public:
  explicit IdleDevice(const Device& device) : device_(device) {}
  std::string_view name() const override { return "idle"; }
  std::string description() const override { return "computes nothing"; }
  std::span<const Heap* const> heaps() const override { return device_.heaps(); }
  std::unique_ptr<Queue> make_queue() const override { return std::make_unique<Queue>(); }
  int channel_block() const override { return 1; }
  std::vector<Offer> offers(const Call& call) const override { return device_.offers(call); }
  double copy_seconds(double bytes) const override { return bytes; }
  std::unique_ptr<Kernel> compile(const Call&, const Offer&) const override {
    return std::make_unique<Idle>();
  }

 private:
  struct Nothing final : Launch {
    void run(Queue&) override {}
  };
  struct Idle final : Kernel {
    std::string name() const override { return "idle"; }
    std::unique_ptr<Launch> bind(std::span<const Tensor>, std::span<const Tensor>,
                                 const Tensor&) const override {
      return std::make_unique<Nothing>();
    }
  };
  const Device& device_;
};

TEST(Allocation, ARunOfCombinedLaunchesAllocatesNothing) {
  const testing::SplitDevice split;
  const IdleDevice idle(split);
  const testing::CombiningDevice device(idle);
  const Device* const devices[] = {&device};
  const testing::SmallNet net = testing::block(1);
  Planned planned = make_plan(net.graph, devices, {MemoryPolicy::zero_copy});
  const Weights weights = pack_weights(planned, devices);
  Executor executor(planned.plan, devices, weights);
  executor.run();
  EXPECT_EQ(device.combined, 1U);
  own = 0;
  counting = true;
  for (int i = 0; i < 3; ++i) executor.run();
  counting = false;
  EXPECT_EQ(own, 0);
}

TEST(Allocation, TheCounterCounts) {
  own = 0;
  counting = true;
  delete new int(1);
  counting = false;
  EXPECT_EQ(own, 1);
}

}  // namespace
}  // namespace maru
