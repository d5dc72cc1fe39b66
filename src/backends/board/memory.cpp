#include "backends/board/memory.h"

#include <sys/mman.h>
#include <unistd.h>

#include <cstring>
#include <optional>

#include "base/error.h"

namespace maru::board {
namespace {

// Pages that can be mapped at several addresses at once. Owns them and its mappings' file.
class Pages {
 public:
  explicit Pages(std::size_t bytes) : bytes_(bytes), file_(::memfd_create("maru board", 0)) {
    if (file_ >= 0 && ::ftruncate(file_, static_cast<off_t>(bytes)) != 0) {
      ::close(file_);
      file_ = -1;
    }
  }
  Pages(const Pages&) = delete;
  Pages& operator=(const Pages&) = delete;
  ~Pages() {
    if (file_ >= 0) ::close(file_);
  }
  std::byte* map(int protection) const {
    if (file_ < 0) return nullptr;
    void* at = ::mmap(nullptr, bytes_, protection, MAP_SHARED, file_, 0);
    return at == MAP_FAILED ? nullptr : static_cast<std::byte*>(at);
  }

 private:
  std::size_t bytes_;
  int file_;
};

// An address that is taken and leads nowhere.
void* reserve(void* at, std::size_t bytes) {
  const int fixed = at == nullptr ? 0 : MAP_FIXED;
  return ::mmap(at, bytes, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE | fixed, -1, 0);
}

}  // namespace

class BoardAllocation final : public Allocation {
 public:
  // `callers`: memory of the caller, or null for memory of its own.
  BoardAllocation(BoardMemory& memory, const HeapProfile& profile, std::byte* callers,
                  std::size_t bytes)
      : memory_(memory), profile_(profile), bytes_(bytes), callers_(callers) {}
  BoardAllocation(const BoardAllocation&) = delete;
  BoardAllocation& operator=(const BoardAllocation&) = delete;

  // False where there is not enough memory.
  bool open() {
    const bool stale = is_stale();
    if (callers_ == nullptr || stale) device_pages_.emplace(bytes_);
    device_ = device_pages_ ? device_pages_->map(PROT_READ | PROT_WRITE) : callers_;
    if (device_ == nullptr) return false;
    if (profile_.cpu_may == CpuMay::alone) {
      native_ = device_;
      return true;
    }
    native_ = reserve(nullptr, bytes_);
    if (native_ == MAP_FAILED) return false;
    if (callers_ != nullptr) {
      host_ = callers_;
      if (stale) std::memcpy(device_, callers_, bytes_);  // as the import itself makes it visible
    } else if (profile_.cpu_may != CpuMay::never) {
      if (stale) host_pages_.emplace(bytes_);
      if (!profile_.moves) host_ = (stale ? host_pages_ : device_pages_)->map(PROT_READ | PROT_WRITE);
      if (!profile_.moves && host_ == nullptr) return false;
    }
    const std::lock_guard lock(memory_.mutex_);
    memory_.device_address_[native_] = device_;
    if (profile_.cpu_may == CpuMay::when_idle) {
      memory_.touched_when_idle_.insert(this);
      if (memory_.working_ > 0) allow(false);
    }
    return true;
  }

  ~BoardAllocation() override {
    if (native_ != device_ && native_ != nullptr && native_ != MAP_FAILED) {
      const std::lock_guard lock(memory_.mutex_);
      memory_.device_address_.erase(native_);
      memory_.touched_when_idle_.erase(this);
      ::munmap(native_, bytes_);
    }
    if (retired_ != nullptr) ::munmap(retired_, bytes_);
    if (host_ != nullptr && host_ != callers_) ::munmap(host_, bytes_);
    if (device_ != nullptr && device_ != callers_) ::munmap(device_, bytes_);
  }

  void* native() const noexcept override { return native_; }

  void* map(Access access, std::size_t offset, std::size_t bytes, Queue* queue) override {
    if (queue != nullptr) queue->finish();
    if (access == Access::read && !profile_.traits.host_cached) memory_.uncached_reads_ += bytes;
    if (profile_.cpu_may == CpuMay::alone) return device_ + offset;
    std::byte* base = host_;
    if (profile_.moves && callers_ == nullptr) {
      base = (is_stale() ? host_pages_ : device_pages_)->map(PROT_READ | PROT_WRITE);
      if (base == nullptr) throw Error("board memory", "address space for a map", "none");
      const std::lock_guard lock(memory_.mutex_);
      bases_.insert(base);
    }
    if (is_stale() && access != Access::write) std::memcpy(base + offset, device_ + offset, bytes);
    return base + offset;
  }

  void unmap(void* address, Access access, std::size_t bytes, Queue*) noexcept override {
    if (profile_.cpu_may == CpuMay::alone) return;
    auto* at = static_cast<std::byte*>(address);
    std::byte* base = host_;
    if (profile_.moves && callers_ == nullptr) {
      const std::lock_guard lock(memory_.mutex_);
      const auto found = std::prev(bases_.upper_bound(at));
      base = *found;
      bases_.erase(found);
    }
    if (is_stale() && access != Access::read) std::memcpy(device_ + (at - base), at, bytes);
    // Keeps the address taken, so that a touch after the unmap is a fault and not somebody else's
    // bytes.
    if (profile_.moves && callers_ == nullptr) {
      ::munmap(base, bytes_);
      retire(base);
    }
  }

  void allow(bool touch) noexcept {
    if (host_ != nullptr) ::mprotect(host_, bytes_, touch ? PROT_READ | PROT_WRITE : PROT_NONE);
  }

 private:
  // Each side has bytes of its own that map and unmap make equal.
  bool is_stale() const { return profile_.cpu_may == CpuMay::when_mapped && !profile_.traits.coherent; }
  // The latest address stays out of use until the next one is given up, so that two maps differ.
  void retire(std::byte* base) noexcept {
    void* taken = reserve(base, bytes_);
    const std::lock_guard lock(memory_.mutex_);
    if (retired_ != nullptr) ::munmap(retired_, bytes_);
    retired_ = taken == MAP_FAILED ? nullptr : taken;
  }

  BoardMemory& memory_;
  const HeapProfile& profile_;
  std::size_t bytes_;
  std::byte* callers_;
  std::optional<Pages> device_pages_, host_pages_;
  std::byte *device_ = nullptr, *host_ = nullptr;
  void* native_ = nullptr;      // leads nowhere, unless only the CPU uses this memory
  std::set<std::byte*> bases_;  // of maps that are open
  void* retired_ = nullptr;
};

void BoardMemory::device_starts() {
  const std::lock_guard lock(mutex_);
  if (working_++ > 0) return;
  for (BoardAllocation* allocation : touched_when_idle_) allocation->allow(false);
}

void BoardMemory::device_ends() {
  const std::lock_guard lock(mutex_);
  MARU_ASSERT(working_ > 0);
  if (--working_ > 0) return;
  for (BoardAllocation* allocation : touched_when_idle_) allocation->allow(true);
}

std::byte* BoardMemory::on_device(const Buffer& buffer) const {
  const std::lock_guard lock(mutex_);
  const auto known = device_address_.find(buffer.native());
  return known != device_address_.end() ? known->second : static_cast<std::byte*>(buffer.native());
}

std::unique_ptr<Allocation> BoardHeap::do_allocate(std::size_t bytes) const {
  auto allocation = std::make_unique<BoardAllocation>(memory_, profile_, nullptr, bytes);
  if (!allocation->open()) return nullptr;
  return allocation;
}

std::unique_ptr<Allocation> BoardHeap::do_import(void* pointer, std::size_t bytes, Access) const {
  if (!traits().imports) return nullptr;
  auto allocation =
      std::make_unique<BoardAllocation>(memory_, profile_, static_cast<std::byte*>(pointer), bytes);
  if (!allocation->open()) return nullptr;
  return allocation;
}

}  // namespace maru::board
