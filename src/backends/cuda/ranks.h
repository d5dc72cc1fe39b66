// CudaRanks: the processes that a CUDA device trains with, by NCCL over its own links; the communicator
// that they were started with introduces them. Owned by the Runtime; any thread.
#pragma once

#include <atomic>
#include <chrono>
#include <memory>
#include <mutex>
#include <thread>

#include "backends/cuda/module/maru_cuda.h"
#include "device/communicator.h"

namespace maru::cuda {

class Runtime;

class CudaRanks {
 public:
  using Clock = std::chrono::steady_clock;

  CudaRanks(const Runtime& runtime, std::shared_ptr<Communicator> communicator)
      : runtime_(runtime), communicator_(std::move(communicator)) {}
  CudaRanks(const CudaRanks&) = delete;
  CudaRanks& operator=(const CudaRanks&) = delete;
  // After all graphs that use it.
  ~CudaRanks();

  int count() const noexcept { return communicator_->ranks(); }
  // Made when it is first asked for, which all ranks do at the same point of their work. Throws Error
  // on all of them, naming those that have no NCCL, or what it says.
  maru_cuda_ranks* get();

  // For who waits for the device since then: a rank that has ended never sends. Throws Error where one
  // has, or is too late, after what is under way on the device was ended.
  void watch(Clock::time_point since);
  // Throws Error where that has happened: nothing may be launched any more.
  void require_whole() const;

 private:
  void introduce();
  void break_up();

  const Runtime& runtime_;
  const std::shared_ptr<Communicator> communicator_;
  std::mutex mutex_;
  maru_cuda_ranks* made_ = nullptr;
  std::atomic<bool> is_broken_ = false;
  std::jthread ending_;
};

}  // namespace maru::cuda
