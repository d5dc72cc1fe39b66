#include "memory/heap.h"

#include <unistd.h>

#include <cstdint>
#include <new>
#include <utility>

#include "base/error.h"

namespace maru {

std::string MemoryTraits::str() const {
  std::string text;
  const auto add = [&](bool has, std::string_view word) {
    if (has) text += (text.empty() ? "" : ", ") + std::string(word);
  };
  add(host_visible, host_cached ? "host cached" : "host uncached");
  add(device_visible, device_cached ? "device cached" : "device uncached");
  add(coherent, "coherent");
  add(concurrent, "concurrent");
  add(migrates, "migrates");
  add(imports, imports_read_only ? "imports" : "imports what can be written");
  return text;
}

std::size_t host_memory_bytes() {
  return static_cast<std::size_t>(::sysconf(_SC_PHYS_PAGES)) *
         static_cast<std::size_t>(::sysconf(_SC_PAGESIZE));
}

HostView::HostView(Allocation* allocation, Access access, std::size_t offset, std::size_t bytes,
                   Queue* queue)
    : allocation_(allocation),
      access_(access),
      queue_(queue),
      bytes_(static_cast<std::byte*>(allocation->map(access, offset, bytes, queue)), bytes) {}

HostView::HostView(HostView&& other) noexcept
    : allocation_(std::exchange(other.allocation_, nullptr)),
      access_(other.access_),
      queue_(other.queue_),
      bytes_(other.bytes_) {}

HostView& HostView::operator=(HostView&& other) noexcept {
  if (this != &other) {
    this->~HostView();
    new (this) HostView(std::move(other));
  }
  return *this;
}

HostView::~HostView() {
  if (allocation_ != nullptr) allocation_->unmap(bytes_.data(), access_, bytes_.size(), queue_);
}

Buffer::Buffer(const Heap& heap, std::unique_ptr<Allocation> allocation, std::size_t bytes)
    : heap_(&heap), allocation_(std::move(allocation)), bytes_(bytes) {}

HostView Buffer::map(Access access, std::size_t offset, std::size_t bytes, Queue* queue) const {
  MARU_ASSERT(allocation_ != nullptr);
  if (!heap_->traits().host_visible) {
    throw Error(heap_->name(), "memory that the CPU can see", "memory of the device alone",
                "placing the tensor in a heap that both see");
  }
  if (offset > bytes_ || bytes > bytes_ - offset) {
    throw Error(heap_->name(), fmt::format("a range within {} bytes", bytes_),
                fmt::format("{} bytes at {}", bytes, offset));
  }
  return HostView(allocation_.get(), access, offset, bytes, queue);
}

Buffer Heap::allocate(std::size_t bytes, std::string_view purpose) const {
  MARU_ASSERT(bytes > 0);
  const std::string want = fmt::format("{} bytes for {}", bytes, purpose);
  if (bytes > traits_.limit) {
    throw Error(name_, want, fmt::format("a heap that gives at most {} at once", traits_.limit),
                "a smaller batch");
  }
  auto allocation = do_allocate(bytes);
  if (!allocation)
    throw Error(name_, want, "not enough free memory", "a smaller batch or fewer sessions");
  return Buffer(*this, std::move(allocation), bytes);
}

Buffer Heap::import(void* pointer, std::size_t bytes) const {
  return import_as(Access::read_write, pointer, bytes);
}

Buffer Heap::import_read_only(const void* pointer, std::size_t bytes) const {
  return import_as(Access::read, const_cast<void*>(pointer), bytes);
}

Buffer Heap::import_as(Access access, void* pointer, std::size_t bytes) const {
  if (pointer == nullptr || reinterpret_cast<std::uintptr_t>(pointer) % traits_.alignment != 0) {
    throw Error(name_, fmt::format("a pointer aligned to {} bytes", traits_.alignment),
                fmt::format("{}", fmt::ptr(pointer)), "aligned_alloc, or a page from mmap");
  }
  if (access == Access::read && traits_.imports && !traits_.imports_read_only)
    throw Error(name_, "memory that can be written", "memory that can only be read", "a copy of it");
  auto allocation = do_import(pointer, bytes, access);
  if (!allocation) {
    throw Error(name_, "a heap that takes memory of the caller", "one that does not",
                "a heap listed as importing by `maru devices`");
  }
  return Buffer(*this, std::move(allocation), bytes);
}

std::unique_ptr<Allocation> Heap::do_import(void*, std::size_t, Access) const { return nullptr; }

}  // namespace maru
