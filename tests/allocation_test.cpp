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

#include "tests/shared.h"
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

TEST(Allocation, TheCounterCounts) {
  own = 0;
  counting = true;
  delete new int(1);
  counting = false;
  EXPECT_EQ(own, 1);
}

}  // namespace
}  // namespace maru
