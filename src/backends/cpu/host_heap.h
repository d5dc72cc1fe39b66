// HostHeap: ordinary memory of the process. Both sides of the CPU device see it, cached and coherent.
#pragma once

#include "memory/heap.h"

namespace maru::cpu {

class HostHeap final : public Heap {
 public:
  HostHeap();

 protected:
  std::unique_ptr<Allocation> do_allocate(std::size_t bytes) const override;
  std::unique_ptr<Allocation> do_import(void* pointer, std::size_t bytes, Access) const override;
};

// Address of a tensor in a HostHeap.
inline void* address(const Tensor& tensor) {
  return static_cast<std::byte*>(tensor.buffer->native()) + tensor.offset;
}
inline TensorView view(const Tensor& tensor) { return {tensor.desc, address(tensor)}; }

}  // namespace maru::cpu
