// The memories of one OpenCL device, as heaps. Owned by the Device; a Runtime outlives them. As heap.h
// says, any thread may use them.
#pragma once

#include <memory>
#include <vector>

#include "backends/opencl/runtime.h"
#include "memory/heap.h"

namespace maru::opencl {

class OpenclHeap : public Heap {
 public:
  OpenclHeap(std::string name, MemoryTraits traits, const Runtime& runtime)
      : Heap(std::move(name), traits), runtime_(runtime) {}

  // What native() is: a cl_mem, or an address that clSetKernelArgSVMPointer takes, or one that nothing
  // but the CPU and transfers take.
  enum class Native { buffer, svm, host };
  virtual Native kind() const noexcept = 0;
  const Runtime& runtime() const noexcept { return runtime_; }

 private:
  const Runtime& runtime_;
};

// Those that this device has and that passed a trial: bytes written by one side were read by the other.
std::vector<std::unique_ptr<OpenclHeap>> working_heaps(const Runtime& runtime);

// Copies as Device::transfer() does. One of the buffers is of an OpenclHeap.
void transfer(cl_command_queue queue, const Buffer& src, std::size_t src_offset, const Buffer& dst,
              std::size_t dst_offset, std::size_t bytes);

}  // namespace maru::opencl
