// The memories of one CUDA device, as heaps. Owned by the Device; a Runtime outlives them. As heap.h
// says, any thread may use them.
#pragma once

#include <memory>
#include <vector>

#include "backends/cuda/runtime.h"
#include "memory/heap.h"

namespace maru::cuda {

// Those that this device has and that passed a trial: bytes written by one side were read by the other.
std::vector<std::unique_ptr<Heap>> working_heaps(const Runtime& runtime);

// Memory made by one of the API's kinds, for words that the device tells the CPU. Throws Error.
class MappedWord {
 public:
  explicit MappedWord(const Runtime& runtime);
  MappedWord(const MappedWord&) = delete;
  MappedWord& operator=(const MappedWord&) = delete;
  ~MappedWord();

  const volatile std::uint32_t* host() const noexcept {
    return static_cast<const volatile std::uint32_t*>(memory_.host);
  }
  void* device() const noexcept { return memory_.device; }

 private:
  const Runtime& runtime_;
  maru_cuda_memory memory_{};
};

// Copies as Device::transfer() does. At least one of the buffers is of a heap from here.
void transfer(CudaQueue& queue, const Buffer& src, std::size_t src_offset, const Buffer& dst,
              std::size_t dst_offset, std::size_t bytes);

}  // namespace maru::cuda
