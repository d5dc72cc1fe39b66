#include "backends/opencl/heaps.h"

#include <sys/mman.h>

#include <algorithm>
#include <array>
#include <chrono>
#include <cstdint>
#include <limits>
#include <numeric>

namespace maru::opencl {
namespace {

cl_map_flags map_flags(Access access) {
  switch (access) {
    case Access::read:
      return CL_MAP_READ;
    case Access::write:
      return CL_MAP_WRITE_INVALIDATE_REGION;
    case Access::read_write:
      break;
  }
  return CL_MAP_READ | CL_MAP_WRITE;
}

// Gives a command to the session's queue, or to the device's own and waits for it.
template <class Enqueue>
cl_int order(const Runtime& runtime, Queue* queue, const Enqueue& enqueue) {
  if (queue != nullptr) return enqueue(static_cast<OpenclQueue*>(queue)->get(), nullptr);
  cl_event event = nullptr;
  const cl_int code = enqueue(runtime.own_queue(), &event);
  if (code != CL_SUCCESS) return code;
  const EventHandle owner(event);
  return clWaitForEvents(1, &event);
}

// Pages of our own behind a buffer that uses them.
class Pages {
 public:
  Pages() = default;
  explicit Pages(std::size_t bytes) : bytes_(bytes) {
    void* data = ::mmap(nullptr, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (data != MAP_FAILED) data_ = data;
  }
  Pages(Pages&& other) noexcept
      : data_(std::exchange(other.data_, nullptr)), bytes_(std::exchange(other.bytes_, 0)) {}
  Pages& operator=(Pages&&) = delete;
  ~Pages() {
    if (data_ != nullptr) ::munmap(data_, bytes_);
  }
  void* data() const noexcept { return data_; }

 private:
  void* data_ = nullptr;
  std::size_t bytes_ = 0;
};

// A cl_mem. Its views are maps of it.
class ClBuffer final : public Allocation {
 public:
  ClBuffer(const Runtime& runtime, MemoryHandle memory, Pages pages = {})
      : runtime_(runtime), pages_(std::move(pages)), memory_(std::move(memory)) {}

  void* native() const noexcept override { return memory_.get(); }

  void* map(Access access, std::size_t offset, std::size_t bytes, Queue* queue) override {
    runtime_.throw_noted();
    if (bytes == 0) return nullptr;
    const auto* session = static_cast<OpenclQueue*>(queue);
    cl_int code = CL_SUCCESS;
    void* address =
        clEnqueueMapBuffer(session != nullptr ? session->get() : runtime_.own_queue(), memory_.get(),
                           CL_TRUE, map_flags(access), offset, bytes, 0, nullptr, nullptr, &code);
    check(code, "clEnqueueMapBuffer");
    return address;
  }

  void unmap(void* address, Access, std::size_t bytes, Queue* queue) noexcept override {
    if (bytes == 0) return;
    runtime_.note_failure(order(runtime_, queue, [&](cl_command_queue to, cl_event* event) {
      return clEnqueueUnmapMemObject(to, memory_.get(), address, 0, nullptr, event);
    }));
  }

 private:
  const Runtime& runtime_;
  Pages pages_;  // outlive the buffer that uses them
  MemoryHandle memory_;
};

// A buffer that stays mapped: memory of the host that transfers are fast from and to.
class PinnedBuffer final : public Allocation {
 public:
  PinnedBuffer(const Runtime& runtime, MemoryHandle memory, void* address)
      : runtime_(runtime), memory_(std::move(memory)), address_(address) {}
  PinnedBuffer(const PinnedBuffer&) = delete;
  PinnedBuffer& operator=(const PinnedBuffer&) = delete;
  ~PinnedBuffer() override {
    order(runtime_, nullptr, [&](cl_command_queue to, cl_event* event) {
      return clEnqueueUnmapMemObject(to, memory_.get(), address_, 0, nullptr, event);
    });
  }

  void* native() const noexcept override { return address_; }
  void* map(Access, std::size_t offset, std::size_t, Queue* queue) override {
    if (queue != nullptr) queue->finish();
    return static_cast<std::byte*>(address_) + offset;
  }
  void unmap(void*, Access, std::size_t, Queue*) noexcept override {}

 private:
  const Runtime& runtime_;
  MemoryHandle memory_;
  void* address_;
};

// Shared virtual memory, coarse: mapped like a buffer, but always at one address. Fine: nothing to map.
class SvmRange final : public Allocation {
 public:
  SvmRange(const Runtime& runtime, void* data, bool is_fine)
      : runtime_(runtime), data_(data), is_fine_(is_fine) {}
  SvmRange(const SvmRange&) = delete;
  SvmRange& operator=(const SvmRange&) = delete;
  ~SvmRange() override { clSVMFree(runtime_.context(), data_); }

  void* native() const noexcept override { return data_; }

  void* map(Access access, std::size_t offset, std::size_t bytes, Queue* queue) override {
    void* address = static_cast<std::byte*>(data_) + offset;
    if (is_fine_) {
      if (queue != nullptr) queue->finish();
      return address;
    }
    runtime_.throw_noted();
    if (bytes == 0) return address;
    const auto* session = static_cast<OpenclQueue*>(queue);
    // With an event, since unmap() has one: PoCL 6.0 takes no note of a map that has none, and ends the
    // process at the unmap that does not find it.
    cl_event event = nullptr;
    check(clEnqueueSVMMap(session != nullptr ? session->get() : runtime_.own_queue(), CL_TRUE,
                          map_flags(access), address, bytes, 0, nullptr, &event),
          "clEnqueueSVMMap");
    const EventHandle owner(event);
    return address;
  }

  void unmap(void* address, Access, std::size_t bytes, Queue* queue) noexcept override {
    if (is_fine_ || bytes == 0) return;
    runtime_.note_failure(order(runtime_, queue, [&](cl_command_queue to, cl_event* event) {
      return clEnqueueSVMUnmap(to, address, 0, nullptr, event);
    }));
  }

 private:
  const Runtime& runtime_;
  void* data_;
  bool is_fine_;
};

MemoryTraits common_traits(const Runtime& runtime) {
  MemoryTraits traits;
  traits.device_visible = traits.device_cached = true;
  traits.alignment = runtime.alignment;
  traits.limit = runtime.limit;
  return traits;
}

// Some drivers fetch memory when it is first used. Used here, its lack is known here.
MemoryHandle make_buffer(const Runtime& runtime, cl_mem_flags flags, std::size_t bytes, void* host) {
  cl_int code = CL_SUCCESS;
  MemoryHandle memory(clCreateBuffer(runtime.context(), flags, bytes, host, &code));
  if (is_out_of_memory(code) || code == CL_INVALID_BUFFER_SIZE) return {};
  check(code, "clCreateBuffer");
  if (host != nullptr) return memory;
  const std::byte zero{0};
  code = clEnqueueWriteBuffer(runtime.own_queue(), memory.get(), CL_TRUE, 0, sizeof zero, &zero, 0,
                              nullptr, nullptr);
  return code == CL_SUCCESS ? std::move(memory) : MemoryHandle();
}

// Memory of the device alone, or what the driver allocates where both see it. To a processor that is
// the same memory, and PoCL 3.1 gives only the second at once: it fetches the first when it is used,
// and ends the process where there is none.
class BufferHeap final : public OpenclHeap {
 public:
  BufferHeap(const Runtime& runtime, bool is_mapped)
      : OpenclHeap(is_mapped ? "mapped" : "device", traits_of(runtime, is_mapped), runtime),
        flags_(CL_MEM_READ_WRITE | (is_mapped || runtime.is_cpu ? CL_MEM_ALLOC_HOST_PTR : 0)) {}
  Native kind() const noexcept override { return Native::buffer; }

 protected:
  std::unique_ptr<Allocation> do_allocate(std::size_t bytes) const override {
    MemoryHandle memory = make_buffer(runtime(), flags_, bytes, nullptr);
    if (!memory) return nullptr;
    return std::make_unique<ClBuffer>(runtime(), std::move(memory));
  }

 private:
  static MemoryTraits traits_of(const Runtime& runtime, bool is_mapped) {
    MemoryTraits traits = common_traits(runtime);
    traits.host_visible = traits.host_cached = is_mapped;
    return traits;
  }

  cl_mem_flags flags_;
};

// Memory of the process, which the device uses where it stands.
class ImportedHeap final : public OpenclHeap {
 public:
  explicit ImportedHeap(const Runtime& runtime) : OpenclHeap("imported", traits_of(runtime), runtime) {}
  Native kind() const noexcept override { return Native::buffer; }

 protected:
  std::unique_ptr<Allocation> do_allocate(std::size_t bytes) const override {
    constexpr std::size_t kPage = 4096;
    Pages pages((bytes + kPage - 1) / kPage * kPage);
    if (pages.data() == nullptr) return nullptr;
    const std::size_t rounded = (bytes + kGranule - 1) / kGranule * kGranule;
    MemoryHandle memory =
        make_buffer(runtime(), CL_MEM_READ_WRITE | CL_MEM_USE_HOST_PTR, rounded, pages.data());
    if (!memory) return nullptr;
    return std::make_unique<ClBuffer>(runtime(), std::move(memory), std::move(pages));
  }

  std::unique_ptr<Allocation> do_import(void* pointer, std::size_t bytes,
                                        Access access) const override {
    if (runtime().is_intel && bytes % kGranule != 0) {
      throw Error(name(), fmt::format("a size that is a multiple of {} bytes", kGranule),
                  fmt::format("{}", bytes), "a larger piece of memory");
    }
    const cl_mem_flags flags = access == Access::read ? CL_MEM_READ_ONLY : CL_MEM_READ_WRITE;
    MemoryHandle memory = make_buffer(runtime(), flags | CL_MEM_USE_HOST_PTR, bytes, pointer);
    if (!memory) {
      throw Error(name(), fmt::format("{} bytes of the caller as a buffer", bytes),
                  "a driver that does not take them", "importing less at once");
    }
    return std::make_unique<ClBuffer>(runtime(), std::move(memory));
  }

 private:
  // Intel's driver copies what is not whole cache lines from the begin of a page.
  static constexpr std::size_t kGranule = 64;

  static MemoryTraits traits_of(const Runtime& runtime) {
    MemoryTraits traits = common_traits(runtime);
    traits.host_visible = traits.host_cached = true;
    traits.imports = traits.imports_read_only = true;
    if (runtime.is_intel) traits.alignment = 4096;
    return traits;
  }
};

class SvmHeap final : public OpenclHeap {
 public:
  SvmHeap(const Runtime& runtime, bool is_fine)
      : OpenclHeap(is_fine ? "svm fine" : "svm coarse", traits_of(runtime, is_fine), runtime),
        is_fine_(is_fine) {}
  Native kind() const noexcept override { return Native::svm; }

 protected:
  std::unique_ptr<Allocation> do_allocate(std::size_t bytes) const override {
    const cl_svm_mem_flags flags = CL_MEM_READ_WRITE | (is_fine_ ? CL_MEM_SVM_FINE_GRAIN_BUFFER : 0);
    // Alignment 0 is that of the largest type, 128 bytes; a device need not give more.
    void* data = clSVMAlloc(runtime().context(), flags, bytes, 0);
    if (data == nullptr) return nullptr;
    return std::make_unique<SvmRange>(runtime(), data, is_fine_);
  }

 private:
  static MemoryTraits traits_of(const Runtime& runtime, bool is_fine) {
    MemoryTraits traits = common_traits(runtime);
    traits.host_visible = traits.host_cached = true;
    traits.coherent = traits.concurrent = is_fine;
    traits.alignment = std::min<std::size_t>(traits.alignment, 128);
    return traits;
  }

  bool is_fine_;
};

class PinnedHeap final : public OpenclHeap {
 public:
  explicit PinnedHeap(const Runtime& runtime) : OpenclHeap("pinned", traits_of(runtime), runtime) {}
  Native kind() const noexcept override { return Native::host; }

 protected:
  std::unique_ptr<Allocation> do_allocate(std::size_t bytes) const override {
    MemoryHandle memory =
        make_buffer(runtime(), CL_MEM_READ_WRITE | CL_MEM_ALLOC_HOST_PTR, bytes, nullptr);
    if (!memory) return nullptr;
    cl_int code = CL_SUCCESS;
    void* address =
        clEnqueueMapBuffer(runtime().own_queue(), memory.get(), CL_TRUE, CL_MAP_READ | CL_MAP_WRITE, 0,
                           bytes, 0, nullptr, nullptr, &code);
    if (is_out_of_memory(code) || code == CL_MAP_FAILURE) return nullptr;
    check(code, "clEnqueueMapBuffer");
    return std::make_unique<PinnedBuffer>(runtime(), std::move(memory), address);
  }

 private:
  static MemoryTraits traits_of(const Runtime& runtime) {
    MemoryTraits traits = common_traits(runtime);
    traits.device_visible = traits.device_cached = false;
    traits.host_visible = traits.host_cached = traits.coherent = traits.concurrent = true;
    return traits;
  }
};

const OpenclHeap* opencl_heap(const Buffer& buffer) {
  return dynamic_cast<const OpenclHeap*>(&buffer.heap());
}

// Where bytes of a buffer are, for the commands that copy.
struct Place {
  cl_mem memory = nullptr;  // or
  std::byte* address = nullptr;
  bool is_svm = false;
};

Place place_of(const Buffer& buffer, std::size_t offset) {
  const OpenclHeap* heap = opencl_heap(buffer);
  if (heap != nullptr && heap->kind() == OpenclHeap::Native::buffer) {
    return {static_cast<cl_mem>(buffer.native()), nullptr, false};
  }
  const bool is_svm = heap != nullptr && heap->kind() == OpenclHeap::Native::svm;
  return {nullptr, static_cast<std::byte*>(buffer.native()) + offset, is_svm};
}

// The trial: what the host writes arrives when commands of the device carry it over, and comes back.
bool works(const Runtime& runtime, const OpenclHeap& heap) try {
  std::vector<std::uint32_t> sent(1024), got(sent.size());
  std::iota(sent.begin(), sent.end(), 0x5eed0001u);
  const std::size_t bytes = sent.size() * sizeof sent[0];
  const Buffer buffer = heap.allocate(bytes, "a trial");
  cl_int code = CL_SUCCESS;
  const MemoryHandle other(clCreateBuffer(runtime.context(), CL_MEM_READ_WRITE, bytes, nullptr, &code));
  check(code, "clCreateBuffer");
  const cl_command_queue queue = runtime.own_queue();
  if (heap.traits().host_visible) {
    std::ranges::copy(sent, buffer.map(Access::write).as<std::uint32_t>().begin());
  } else {
    check(clEnqueueWriteBuffer(queue, static_cast<cl_mem>(buffer.native()), CL_TRUE, 0, bytes,
                               sent.data(), 0, nullptr, nullptr),
          "clEnqueueWriteBuffer");
  }
  const Place place = place_of(buffer, 0);
  if (place.memory != nullptr) {
    check(clEnqueueCopyBuffer(queue, place.memory, other.get(), 0, 0, bytes, 0, nullptr, nullptr),
          "clEnqueueCopyBuffer");
  } else {
    check(
        clEnqueueWriteBuffer(queue, other.get(), CL_TRUE, 0, bytes, place.address, 0, nullptr, nullptr),
        "clEnqueueWriteBuffer");
  }
  check(clEnqueueReadBuffer(queue, other.get(), CL_TRUE, 0, bytes, got.data(), 0, nullptr, nullptr),
        "clEnqueueReadBuffer");
  if (got != sent) return false;
  if (!heap.traits().host_visible) return true;
  // Back: other bytes, written by the device.
  std::ranges::reverse(sent);
  check(clEnqueueWriteBuffer(queue, other.get(), CL_TRUE, 0, bytes, sent.data(), 0, nullptr, nullptr),
        "clEnqueueWriteBuffer");
  if (place.memory != nullptr) {
    check(clEnqueueCopyBuffer(queue, other.get(), place.memory, 0, 0, bytes, 0, nullptr, nullptr),
          "clEnqueueCopyBuffer");
    check(clFinish(queue), "clFinish");
  } else {
    check(
        clEnqueueReadBuffer(queue, other.get(), CL_TRUE, 0, bytes, place.address, 0, nullptr, nullptr),
        "clEnqueueReadBuffer");
  }
  return std::ranges::equal(sent, buffer.map(Access::read).as<std::uint32_t>());
} catch (const Error&) {
  return false;
}

// Whether the CPU sees the device's bytes and not a copy. Some drivers of cards with memory of their
// own keep "host" buffers there, and copy whatever is mapped (seen: NVIDIA 580 on an H200, at bus
// speed): that is no shared memory. Told by the time that mapping takes, which must not grow with the
// bytes.
bool maps_in_place(const Runtime& runtime, const OpenclHeap& heap) try {
  if (runtime.is_cpu || heap.traits().concurrent) return true;
  // On one memory, caches that must be written back also cost by the byte, though far less than a copy;
  // what the driver itself allocated lies where it wants it.
  if (runtime.has_unified_memory && !heap.traits().imports) return true;
  using Clock = std::chrono::steady_clock;
  constexpr std::size_t kLarge = std::size_t{16} << 20, kSmall = 4096;
  // Bytes a second that no copy reaches: over a bus, and by a processor within one memory.
  const double fastest_copy = runtime.has_unified_memory ? 40e9 : 400e9;
  const Buffer buffer = heap.allocate(kLarge, "a trial");
  const auto seconds = [&](Access access, std::size_t bytes) {
    double best = std::numeric_limits<double>::infinity();
    for (int i = 0; i < 5; ++i) {
      const auto start = Clock::now();
      buffer.map(access, 0, bytes);
      best = std::min(best, std::chrono::duration<double>(Clock::now() - start).count());
    }
    return best;
  };
  return std::ranges::all_of(std::array{Access::read, Access::read_write}, [&](Access access) {
    return seconds(access, kLarge) - seconds(access, kSmall) <
           static_cast<double>(kLarge) / fastest_copy;
  });
} catch (const Error&) {
  return false;
}

}  // namespace

std::vector<std::unique_ptr<OpenclHeap>> working_heaps(const Runtime& runtime) {
  std::vector<std::unique_ptr<OpenclHeap>> heaps;
  const auto add = [&](std::unique_ptr<OpenclHeap> heap) {
    const bool is_shared = heap->traits().host_visible && heap->traits().device_visible;
    if (works(runtime, *heap) && (!is_shared || maps_in_place(runtime, *heap)))
      heaps.push_back(std::move(heap));
  };
  add(std::make_unique<BufferHeap>(runtime, false));
  add(std::make_unique<BufferHeap>(runtime, true));
  add(std::make_unique<ImportedHeap>(runtime));
  if (runtime.has_coarse_svm) add(std::make_unique<SvmHeap>(runtime, false));
  if (runtime.has_fine_svm) add(std::make_unique<SvmHeap>(runtime, true));
  add(std::make_unique<PinnedHeap>(runtime));
  return heaps;
}

void transfer(cl_command_queue queue, const Buffer& src, std::size_t src_offset, const Buffer& dst,
              std::size_t dst_offset, std::size_t bytes) {
  if (bytes == 0) return check(clFinish(queue), "clFinish");
  const Place from = place_of(src, src_offset), to = place_of(dst, dst_offset);
  if (from.memory != nullptr && to.memory != nullptr) {
    check(clEnqueueCopyBuffer(queue, from.memory, to.memory, src_offset, dst_offset, bytes, 0, nullptr,
                              nullptr),
          "clEnqueueCopyBuffer");
    check(clFinish(queue), "clFinish");
  } else if (to.memory != nullptr) {
    check(clEnqueueWriteBuffer(queue, to.memory, CL_TRUE, dst_offset, bytes, from.address, 0, nullptr,
                               nullptr),
          "clEnqueueWriteBuffer");
  } else if (from.memory != nullptr) {
    check(clEnqueueReadBuffer(queue, from.memory, CL_TRUE, src_offset, bytes, to.address, 0, nullptr,
                              nullptr),
          "clEnqueueReadBuffer");
  } else {
    MARU_ASSERT(from.is_svm || to.is_svm);
    check(clEnqueueSVMMemcpy(queue, CL_TRUE, to.address, from.address, bytes, 0, nullptr, nullptr),
          "clEnqueueSVMMemcpy");
  }
}

}  // namespace maru::opencl
