// Memory that behaves as a board's does. BoardMemory: what all heaps of one device share: whether the
// device works, and where its kernels find what the CPU cannot address. BoardHeap: one kind of memory.
// Both are safe to use from several threads and outlive the buffers.
#pragma once

#include <atomic>
#include <cstdint>
#include <map>
#include <mutex>
#include <set>

#include "backends/board/profile.h"
#include "memory/heap.h"

namespace maru::board {

class BoardAllocation;

class BoardMemory {
 public:
  // The device takes up and ends work. What the CPU may touch only while it is idle is out of its reach
  // between the two; touching it then is a segmentation fault.
  void device_starts();
  void device_ends();

  // Where the device's kernels find the bytes of a buffer; of memory of another device, its address.
  std::byte* on_device(const Buffer& buffer) const;

  // Bytes that the CPU asked to read where no cache holds them.
  std::uint64_t uncached_reads() const { return uncached_reads_; }

 private:
  friend class BoardAllocation;
  mutable std::mutex mutex_;
  int working_ = 0;                                   // queues that are at work
  std::map<const void*, std::byte*> device_address_;  // by Allocation::native()
  std::set<BoardAllocation*> touched_when_idle_;
  std::atomic<std::uint64_t> uncached_reads_{0};
};

class BoardHeap final : public Heap {
 public:
  BoardHeap(BoardMemory& memory, const HeapProfile& profile)
      : Heap(profile.name, profile.traits), memory_(memory), profile_(profile) {}

 protected:
  std::unique_ptr<Allocation> do_allocate(std::size_t bytes) const override;
  std::unique_ptr<Allocation> do_import(void* pointer, std::size_t bytes, Access) const override;

 private:
  BoardMemory& memory_;
  HeapProfile profile_;
};

}  // namespace maru::board
