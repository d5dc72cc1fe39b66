#include "backends/cuda/runtime.h"

#include <fmt/format.h>

#include "backends/cuda/ranks.h"
#include "base/error.h"

namespace maru::cuda {
namespace {

constexpr int kLeastCapability = 75;

}  // namespace

std::string version_text(int version) {
  return fmt::format("{}.{}", version / 1000, version % 1000 / 10);
}

Runtime::Runtime(std::shared_ptr<const Module> module, int ordinal)
    : module_(std::move(module)), ordinal_(ordinal) {
  check(api().device_facts(ordinal_, &facts_), "cudaGetDeviceProperties");
  check(api().versions(&driver_version_, &runtime_version_), "cudaDriverGetVersion");
  if (compute_capability() < kLeastCapability)
    throw Error(fmt::format("cuda:{}", ordinal_), "a GPU of compute capability 7.5 or later",
                description(), "--device opencl, or cpu");
  check(api().code_capability(ordinal_, &code_capability_), "kernels");
}

Runtime::~Runtime() { ranks.reset(); }  // which uses the module

std::string Runtime::description() const {
  return fmt::format("{}, compute capability {}.{}, {} GiB, {}; CUDA {}, driver for {}", facts_.name,
                     facts_.major, facts_.minor, facts_.memory_bytes >> 30,
                     facts_.integrated != 0 ? "one memory with the CPU" : "memory of its own",
                     version_text(runtime_version_), version_text(driver_version_));
}

void Runtime::check(int code, std::string_view call) const {
  if (code == 0) return;
  throw Error(fmt::format("cuda:{} {}", ordinal_, call), "success",
              fmt::format("{}: {}", api().error_name(code), api().error_text(code)),
              code == api().out_of_memory
                  ? "a smaller batch or fewer sessions; `nvidia-smi` says who has the memory"
                  : "`nvidia-smi` or dmesg, for what the driver says; another --device works on");
}

StreamHandle Runtime::make_stream() const {
  maru_cuda_stream* stream = nullptr;
  check(api().stream_create(ordinal_, &stream), "cudaStreamCreate");
  return {stream, {&api()}};
}

const maru_cuda_kernel* Runtime::find(const std::string& function) const {
  const maru_cuda_kernel* kernel = nullptr;
  check(api().find_kernel(ordinal_, function.c_str(), &kernel), function);
  return kernel;
}

// Asks again and again: what waits for another rank may never end.
void CudaQueue::wait_with_ranks() {
  constexpr unsigned kQueriesBetweenLooks = 64;
  const auto start = CudaRanks::Clock::now();
  for (unsigned queries = 1;; ++queries) {
    const int code = runtime_.api().stream_query(stream_.get());
    if (code != runtime_.api().not_ready) return runtime_.check(code, "cudaStreamQuery");
    if (queries % kQueriesBetweenLooks == 0) runtime_.ranks->watch(start);
  }
}

void CudaQueue::finish() {
  if (runtime_.ranks) {
    word_ = nullptr;
    return wait_with_ranks();
  }
  if (word_ != nullptr) {
    constexpr unsigned kPollsBetweenQueries = 4096;
    for (unsigned polls = 1; static_cast<std::int32_t>(*word_ - value_) < 0; ++polls) {
      if (polls % kPollsBetweenQueries != 0) continue;
      // Work that failed never reaches its word.
      const int code = runtime_.api().stream_query(stream_.get());
      if (code == 0) break;
      if (code != runtime_.api().not_ready) runtime_.check(code, "cudaStreamQuery");
    }
    std::atomic_thread_fence(std::memory_order_acquire);
    word_ = nullptr;
    return;
  }
  runtime_.check(runtime_.api().stream_wait(stream_.get()), "cudaStreamSynchronize");
}

}  // namespace maru::cuda
