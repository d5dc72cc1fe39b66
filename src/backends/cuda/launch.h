// CudaLaunch: a node's launches with their parameters, ready to run. combine(): many of them as one
// CUDA graph, in which those that do not wait for each other run side by side.
#pragma once

#include <memory>
#include <span>
#include <vector>

#include "backends/cuda/runtime.h"
#include "device/device.h"

namespace maru::cuda {

// A mean over ranks, with what its arrays point to. Stays where it is.
struct Mean {
  std::vector<const float*> src;
  std::vector<float*> dst;
  std::vector<std::size_t> elements;
  maru_cuda_mean all;
};

class CudaLaunch final : public Launch {
 public:
  struct One {
    maru_cuda_launch launch;           // its params are `params` below
    std::vector<std::byte> params;     // moved, never copied
    std::unique_ptr<const Mean> mean;  // instead of the launch; null: it is one
  };

  CudaLaunch(const Runtime& runtime, std::vector<One> all) : runtime_(runtime), all_(std::move(all)) {}

  void run(Queue& queue) override;
  // One after the other.
  std::span<const One> all() const noexcept { return all_; }

 private:
  const Runtime& runtime_;
  std::vector<One> all_;
};

// The launches are CudaLaunches. With `flags`, the end of the work is seen in a word that the device
// writes to memory of the CPU.
std::unique_ptr<Launch> combine(const Runtime& runtime, std::span<const OrderedLaunch> launches,
                                bool flags);

// Whether a word in mapped memory shows the end of a graph sooner than the driver's own wait for it:
// both are tried, for some hundreds of microseconds.
bool sees_flags_sooner(const Runtime& runtime);

}  // namespace maru::cuda
