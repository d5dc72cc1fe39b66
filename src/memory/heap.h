// Heap: one kind of memory that a device offers. A heap outlives its buffers, is safe to use from
// several threads, and is never substituted for another in silence. Buffer: owns one allocation of a
// heap; moves, does not copy. HostView: the CPU's scoped look at a range of a buffer; ends with its
// destructor.
#pragma once

#include <cstddef>
#include <memory>
#include <span>
#include <string>

#include "memory/memory_traits.h"
#include "memory/queue.h"
#include "tensor/tensor_desc.h"

namespace maru {

enum class Access { read, write, read_write };

// What a backend implements for one piece of memory.
class Allocation {
 public:
  virtual ~Allocation() = default;
  // What the backend's own kernels take: a pointer, a cl_mem, a CUdeviceptr. The host's address where
  // the device's kernels cannot use this memory.
  virtual void* native() const noexcept = 0;
  // Makes [offset, offset + bytes) readable or writable for the CPU, doing what the traits demand
  // (invalidate, wait, map), and returns its address; never moves data from one memory to another.
  // With a queue of the device, what was given to it before has ended, and what is given to it after
  // unmap() sees the CPU's writes. Without one, no work on the device touches these bytes meanwhile.
  virtual void* map(Access access, std::size_t offset, std::size_t bytes, Queue* queue) = 0;
  virtual void unmap(void* address, Access access, std::size_t bytes, Queue* queue) noexcept = 0;
};

class Heap;

class HostView {
 public:
  HostView(HostView&& other) noexcept;
  HostView& operator=(HostView&& other) noexcept;  // ends this view first
  ~HostView();

  std::span<std::byte> bytes() const noexcept { return bytes_; }
  template <class T>
  std::span<T> as() const noexcept {
    return {reinterpret_cast<T*>(bytes_.data()), bytes_.size() / sizeof(T)};
  }

 private:
  friend class Buffer;
  HostView(Allocation* allocation, Access access, std::size_t offset, std::size_t bytes, Queue* queue);

  Allocation* allocation_;
  Access access_;
  Queue* queue_;
  std::span<std::byte> bytes_;
};

class Buffer {
 public:
  Buffer() = default;
  Buffer(const Heap& heap, std::unique_ptr<Allocation> allocation, std::size_t bytes);

  explicit operator bool() const noexcept { return allocation_ != nullptr; }
  std::size_t bytes() const noexcept { return bytes_; }
  const Heap& heap() const noexcept { return *heap_; }
  void* native() const noexcept { return allocation_->native(); }

  // Throws Error when the CPU cannot see this heap or the range is outside of the buffer. What `queue`
  // is for says Allocation::map; it must outlive the view.
  HostView map(Access access, std::size_t offset, std::size_t bytes, Queue* queue = nullptr) const;
  HostView map(Access access) const { return map(access, 0, bytes_); }

 private:
  const Heap* heap_ = nullptr;
  std::unique_ptr<Allocation> allocation_;
  std::size_t bytes_ = 0;
};

class Heap {
 public:
  Heap(std::string name, MemoryTraits traits) : name_(std::move(name)), traits_(traits) {}
  virtual ~Heap() = default;
  Heap(const Heap&) = delete;
  Heap& operator=(const Heap&) = delete;

  const std::string& name() const noexcept { return name_; }  // for people; decide by traits()
  const MemoryTraits& traits() const noexcept { return traits_; }

  // Throws Error naming `purpose` (what the memory is for) when there is not enough, or bytes is 0 or
  // above the heap's limit.
  Buffer allocate(std::size_t bytes, std::string_view purpose) const;
  // Uses memory of the caller, who keeps it alive, without a copy. Throws Error when the heap cannot or
  // the pointer is not aligned to traits().alignment.
  Buffer import(void* pointer, std::size_t bytes) const;
  // The same of memory that can only be read: neither side may write to the buffer. Throws Error, too,
  // where the heap wants memory that can be written.
  Buffer import_read_only(const void* pointer, std::size_t bytes) const;

 protected:
  // Returns nullptr when there is not enough memory.
  virtual std::unique_ptr<Allocation> do_allocate(std::size_t bytes) const = 0;
  // `access`: read, or read_write. Returns nullptr when this heap imports nothing.
  virtual std::unique_ptr<Allocation> do_import(void* pointer, std::size_t bytes, Access access) const;

 private:
  Buffer import_as(Access access, void* pointer, std::size_t bytes) const;

  std::string name_;
  MemoryTraits traits_;
};

// A tensor in memory: what it is and where. Does not own.
struct Tensor {
  TensorDesc desc;
  const Buffer* buffer = nullptr;
  std::size_t offset = 0;  // bytes
};

}  // namespace maru
