#include "backends/cpu/host_heap.h"

#include <sys/mman.h>

namespace maru::cpu {
namespace {

class Pages final : public Allocation {
 public:
  Pages(void* data, std::size_t owned_bytes) : data_(data), owned_bytes_(owned_bytes) {}
  Pages(const Pages&) = delete;
  Pages& operator=(const Pages&) = delete;
  ~Pages() override {
    if (owned_bytes_ > 0) ::munmap(data_, owned_bytes_);
  }

  void* native() const noexcept override { return data_; }
  void* map(Access, std::size_t offset, std::size_t, Queue*) override {
    return static_cast<std::byte*>(data_) + offset;
  }
  void unmap(void*, Access, std::size_t, Queue*) noexcept override {}

 private:
  void* data_;
  std::size_t owned_bytes_;  // 0: the caller's
};

MemoryTraits host_traits() {
  MemoryTraits traits;
  traits.host_visible = traits.device_visible = true;
  traits.host_cached = traits.device_cached = true;
  traits.coherent = traits.concurrent = true;
  traits.imports = traits.imports_read_only = true;
  traits.alignment = 64;  // a cache line, and the widest vector
  traits.limit = host_memory_bytes();
  return traits;
}

}  // namespace

HostHeap::HostHeap() : Heap("host", host_traits()) {}

std::unique_ptr<Allocation> HostHeap::do_allocate(std::size_t bytes) const {
  // Pages fresh from the kernel read as zero, cost nothing until touched and go back when freed.
  void* data = ::mmap(nullptr, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  if (data == MAP_FAILED) return nullptr;
  return std::make_unique<Pages>(data, bytes);
}

std::unique_ptr<Allocation> HostHeap::do_import(void* pointer, std::size_t, Access) const {
  return std::make_unique<Pages>(pointer, 0);
}

}  // namespace maru::cpu
