#include "backends/cuda/heaps.h"

#include <sys/mman.h>

#include <algorithm>
#include <map>
#include <mutex>
#include <numeric>
#include <optional>
#include <utility>

#include "base/error.h"

namespace maru::cuda {
namespace {

constexpr std::size_t kPage = 4096;

// What cudaMalloc and its like made. Managed memory that the CPU and running kernels must not touch at
// the same time is attached to the CPU while it is mapped, and else to its session's stream: so it is
// of no concern to the work of others.
class CudaMemory final : public Allocation {
 public:
  CudaMemory(const Runtime& runtime, int kind, maru_cuda_memory memory, bool is_exclusive)
      : runtime_(runtime), kind_(kind), memory_(memory), is_exclusive_(is_exclusive) {}
  CudaMemory(const CudaMemory&) = delete;
  CudaMemory& operator=(const CudaMemory&) = delete;
  ~CudaMemory() override { runtime_.api().release(runtime_.ordinal(), kind_, &memory_); }

  void* native() const noexcept override {
    return kind_ == MARU_CUDA_PINNED ? memory_.host : memory_.device;
  }

  void* map(Access, std::size_t offset, std::size_t, Queue* queue) override {
    if (queue != nullptr) queue->finish();
    // On the session's own stream, which is waited for: that its end was seen in a word is not enough.
    if (is_exclusive_)
      attach(queue == nullptr ? nullptr : static_cast<CudaQueue*>(queue)->stream(),
             MARU_CUDA_ATTACH_HOST);
    return static_cast<std::byte*>(memory_.host) + offset;
  }

  void unmap(void*, Access, std::size_t, Queue* queue) noexcept override {
    if (!is_exclusive_) return;
    auto* session = static_cast<CudaQueue*>(queue);
    // What fails here fails again at the next launch, which says so.
    runtime_.api().attach(runtime_.ordinal(), session == nullptr ? nullptr : session->stream(),
                          memory_.host,
                          session == nullptr ? MARU_CUDA_ATTACH_GLOBAL : MARU_CUDA_ATTACH_STREAM);
  }

 private:
  void attach(maru_cuda_stream* stream, int to) {
    runtime_.check(runtime_.api().attach(runtime_.ordinal(), stream, memory_.host, to),
                   "cudaStreamAttachMemAsync");
  }

  const Runtime& runtime_;
  int kind_;
  maru_cuda_memory memory_;
  bool is_exclusive_;
};

// Memory of the process that the device uses where it stands.
class HostMemory : public Allocation {
 public:
  explicit HostMemory(maru_cuda_memory memory, std::size_t own_bytes)
      : memory_(memory), own_bytes_(own_bytes) {}
  HostMemory(const HostMemory&) = delete;
  HostMemory& operator=(const HostMemory&) = delete;
  ~HostMemory() override {
    if (own_bytes_ > 0) ::munmap(memory_.host, own_bytes_);
  }

  void* native() const noexcept override { return memory_.device; }
  void* map(Access, std::size_t offset, std::size_t, Queue* queue) override {
    if (queue != nullptr) queue->finish();
    return static_cast<std::byte*>(memory_.host) + offset;
  }
  void unmap(void*, Access, std::size_t, Queue*) noexcept override {}

 protected:
  maru_cuda_memory memory_;

 private:
  std::size_t own_bytes_;  // pages of ours; 0: they are the caller's
};

// What is registered now. The driver takes no piece of memory twice; those who bring the same one share
// its registration, which ends with the last of them.
class Registrations {
 public:
  explicit Registrations(const Runtime& runtime) : runtime_(runtime) {}

  // Of exactly these bytes.
  class Holder {
   public:
    Holder(Registrations& all, maru_cuda_memory memory) : all_(&all), memory_(memory) {}
    Holder(Holder&& other) noexcept
        : all_(std::exchange(other.all_, nullptr)), memory_(other.memory_) {}
    Holder& operator=(Holder&&) = delete;
    ~Holder() {
      if (all_ != nullptr) all_->let_go(memory_.host);
    }
    const maru_cuda_memory& memory() const noexcept { return memory_; }

   private:
    Registrations* all_;
    maru_cuda_memory memory_;
  };

  // The code of the failure is left in `code`; 0: there was none.
  std::optional<Holder> hold(void* pointer, std::size_t bytes, Access access, int& code) {
    const std::lock_guard lock(mutex_);
    code = 0;
    const auto known = all_.find(pointer);
    if (known != all_.end() && known->second.bytes == bytes && known->second.access == access) {
      ++known->second.holders;
      return std::optional<Holder>(std::in_place, *this, known->second.memory);
    }
    One one{{}, bytes, access};
    // Where the device follows the CPU's page tables, it needs not be told that pages are only read.
    const int is_read_only =
        access == Access::read && runtime_.facts().registers_read_only != 0 ? 1 : 0;
    code = runtime_.api().enroll(runtime_.ordinal(), pointer, bytes, is_read_only, &one.memory);
    if (code != 0) return std::nullopt;
    all_.emplace(pointer, one);
    return std::optional<Holder>(std::in_place, *this, one.memory);
  }

 private:
  struct One {
    maru_cuda_memory memory;
    std::size_t bytes;
    Access access;
    int holders = 1;
  };

  void let_go(void* pointer) noexcept {
    const std::lock_guard lock(mutex_);
    const auto found = all_.find(pointer);
    if (--found->second.holders > 0) return;
    runtime_.api().withdraw(runtime_.ordinal(), pointer);
    all_.erase(found);
  }

  const Runtime& runtime_;
  std::mutex mutex_;
  std::map<void*, One> all_;
};

class RegisteredMemory final : public HostMemory {
 public:
  RegisteredMemory(Registrations::Holder holder, std::size_t own_bytes)
      : HostMemory(holder.memory(), own_bytes), holder_(std::move(holder)) {}

 private:
  Registrations::Holder holder_;  // goes before the pages do
};

// The rules of "CUDA for Tegra" (NVIDIA, application note, "Memory Management"): an integrated GPU
// caches pinned memory from Thor on only; the CPU caches it from compute capability 7.2 on. A GPU with
// memory of its own reads the host's over the bus, each time.
bool cpu_caches_pinned(const Runtime& runtime) {
  return runtime.facts().integrated == 0 || runtime.compute_capability() >= 72;
}
// Thor is 10.1 in CUDA 12 and 11.0 since CUDA 13.
bool is_two_way_coherent(const Runtime& runtime) {
  return runtime.facts().integrated != 0 && runtime.compute_capability() >= 101;
}

MemoryTraits traits_in_host_memory() {
  MemoryTraits traits;
  traits.alignment = 256;
  traits.limit = host_memory_bytes();
  return traits;
}

MemoryTraits traits_of(const Runtime& runtime, int kind) {
  const maru_cuda_facts& facts = runtime.facts();
  MemoryTraits traits = traits_in_host_memory();
  switch (kind) {
    case MARU_CUDA_DEVICE:
      traits.device_visible = traits.device_cached = true;
      traits.limit = facts.memory_bytes;
      break;
    case MARU_CUDA_PINNED:  // as Caffe has it: for transfers, out of the kernels' reach
      traits.host_visible = traits.coherent = traits.concurrent = true;
      traits.host_cached = cpu_caches_pinned(runtime);
      break;
    case MARU_CUDA_MAPPED:
      traits.host_visible = traits.device_visible = traits.coherent = traits.concurrent = true;
      traits.host_cached = cpu_caches_pinned(runtime);
      traits.device_cached = is_two_way_coherent(runtime);
      break;
    case MARU_CUDA_MANAGED:
      traits.host_visible = traits.device_visible = traits.host_cached = traits.device_cached = true;
      traits.coherent = traits.concurrent = facts.concurrent_managed_access != 0;
      traits.migrates = facts.integrated == 0;
      traits.limit = facts.memory_bytes;  // it takes more, and then pages move without end
      break;
  }
  return traits;
}

class KindHeap final : public Heap {
 public:
  KindHeap(const Runtime& runtime, int kind, std::string name)
      : Heap(std::move(name), traits_of(runtime, kind)), runtime_(runtime), kind_(kind) {}

 protected:
  std::unique_ptr<Allocation> do_allocate(std::size_t bytes) const override {
    maru_cuda_memory memory{};
    const int code = runtime_.api().allocate(runtime_.ordinal(), kind_, bytes, &memory);
    if (code == runtime_.api().out_of_memory) return nullptr;
    runtime_.check(code, name());
    return std::make_unique<CudaMemory>(runtime_, kind_, memory,
                                        kind_ == MARU_CUDA_MANAGED && !traits().concurrent);
  }

 private:
  const Runtime& runtime_;
  int kind_;
};

std::size_t whole_pages(std::size_t bytes) { return (bytes + kPage - 1) / kPage * kPage; }

// Null where there is no memory.
void* new_pages(std::size_t bytes) {
  void* data = ::mmap(nullptr, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  return data == MAP_FAILED ? nullptr : data;
}

// cudaHostRegister: pages of the process that the device sees from then on.
class RegisteredHeap final : public Heap {
 public:
  explicit RegisteredHeap(const Runtime& runtime)
      : Heap("registered", traits(runtime)), runtime_(runtime), registrations_(runtime) {}

 protected:
  std::unique_ptr<Allocation> do_allocate(std::size_t bytes) const override {
    const std::size_t whole = whole_pages(bytes);
    void* pages = new_pages(whole);
    if (pages == nullptr) return nullptr;
    int code = 0;
    if (auto holder = registrations_.hold(pages, whole, Access::read_write, code))
      return std::make_unique<RegisteredMemory>(*std::move(holder), whole);
    ::munmap(pages, whole);
    if (code == runtime_.api().out_of_memory) return nullptr;
    runtime_.check(code, "cudaHostRegister");
    return nullptr;
  }

  std::unique_ptr<Allocation> do_import(void* pointer, std::size_t bytes,
                                        Access access) const override {
    int code = 0;
    auto holder = registrations_.hold(pointer, bytes, access, code);
    runtime_.check(code, "cudaHostRegister");
    return std::make_unique<RegisteredMemory>(*std::move(holder), 0);
  }

 private:
  static MemoryTraits traits(const Runtime& runtime) {
    MemoryTraits traits = traits_of(runtime, MARU_CUDA_MAPPED);
    traits.imports = true;
    traits.imports_read_only =
        runtime.facts().registers_read_only != 0 || runtime.facts().uses_host_page_tables != 0;
    traits.alignment = 64;
    return traits;
  }

  const Runtime& runtime_;
  mutable Registrations registrations_;
};

// Any memory of the process, where the device follows the CPU's page tables or faults pages in.
class PageableHeap final : public Heap {
 public:
  explicit PageableHeap(const Runtime& runtime) : Heap("pageable", traits(runtime)) {}

 protected:
  std::unique_ptr<Allocation> do_allocate(std::size_t bytes) const override {
    const std::size_t whole = whole_pages(bytes);
    void* pages = new_pages(whole);
    if (pages == nullptr) return nullptr;
    return std::make_unique<HostMemory>(maru_cuda_memory{pages, pages}, whole);
  }
  std::unique_ptr<Allocation> do_import(void* pointer, std::size_t, Access) const override {
    return std::make_unique<HostMemory>(maru_cuda_memory{pointer, pointer}, 0);
  }

 private:
  static MemoryTraits traits(const Runtime& runtime) {
    MemoryTraits traits = traits_in_host_memory();
    traits.host_visible = traits.device_visible = traits.host_cached = traits.coherent =
        traits.concurrent = traits.imports = traits.imports_read_only = true;
    traits.device_cached = runtime.facts().uses_host_page_tables != 0;
    traits.migrates = runtime.facts().integrated == 0 && !traits.device_cached;
    traits.alignment = 64;
    return traits;
  }
};

// The trial: what the host writes arrives when the device's copies carry it over, and comes back.
bool works(const Runtime& runtime, const Heap& heap, const Heap& local) try {
  std::vector<std::uint32_t> sent(1024), got(sent.size());
  std::iota(sent.begin(), sent.end(), 0x5eed0001u);
  const std::size_t bytes = sent.size() * sizeof sent[0];
  const StreamHandle stream = runtime.make_stream();
  const auto copy = [&](void* to, const void* from) {
    runtime.check(runtime.api().copy(stream.get(), to, from, bytes), "cudaMemcpyAsync");
  };
  const Buffer buffer = heap.allocate(bytes, "a trial"), other = local.allocate(bytes, "a trial");
  if (!heap.traits().host_visible) {
    copy(buffer.native(), sent.data());
    copy(other.native(), buffer.native());
    copy(got.data(), other.native());
    return got == sent;
  }
  std::ranges::copy(sent, buffer.map(Access::write).as<std::uint32_t>().begin());
  copy(other.native(), buffer.native());
  copy(got.data(), other.native());
  if (got != sent) return false;
  // Back: other bytes, written by the device.
  std::ranges::reverse(sent);
  copy(other.native(), sent.data());
  copy(buffer.native(), other.native());
  return std::ranges::equal(sent, buffer.map(Access::read).as<std::uint32_t>());
} catch (const Error&) {
  return false;
}

}  // namespace

std::vector<std::unique_ptr<Heap>> working_heaps(const Runtime& runtime) {
  const maru_cuda_facts& facts = runtime.facts();
  std::vector<std::unique_ptr<Heap>> heaps;
  heaps.push_back(std::make_unique<KindHeap>(runtime, MARU_CUDA_DEVICE, "device"));
  if (!works(runtime, *heaps[0], *heaps[0])) return {};
  const auto add = [&](bool is_there, auto&& make) {
    if (!is_there) return;
    std::unique_ptr<Heap> heap = make();
    if (works(runtime, *heap, *heaps[0])) heaps.push_back(std::move(heap));
  };
  const auto kind = [&](int which, const char* name) {
    return [&runtime, which, name] { return std::make_unique<KindHeap>(runtime, which, name); };
  };
  add(facts.maps_host_memory != 0, kind(MARU_CUDA_MAPPED, "mapped"));
  add(facts.maps_host_memory != 0 && facts.registers_host_memory != 0,
      [&] { return std::make_unique<RegisteredHeap>(runtime); });
  add(facts.has_managed_memory != 0, kind(MARU_CUDA_MANAGED, "managed"));
  add(facts.pageable_memory_access != 0, [&] { return std::make_unique<PageableHeap>(runtime); });
  add(true, kind(MARU_CUDA_PINNED, "pinned"));
  return heaps;
}

MappedWord::MappedWord(const Runtime& runtime) : runtime_(runtime) {
  runtime_.check(
      runtime_.api().allocate(runtime_.ordinal(), MARU_CUDA_MAPPED, sizeof(std::uint32_t), &memory_),
      "cudaHostAlloc");
  *static_cast<volatile std::uint32_t*>(memory_.host) = 0;
}

MappedWord::~MappedWord() { runtime_.api().release(runtime_.ordinal(), MARU_CUDA_MAPPED, &memory_); }

void transfer(CudaQueue& queue, const Buffer& src, std::size_t src_offset, const Buffer& dst,
              std::size_t dst_offset, std::size_t bytes) {
  if (bytes == 0) return queue.finish();
  const auto at = [](const Buffer& buffer, std::size_t offset) {
    return static_cast<std::byte*>(buffer.native()) + offset;
  };
  queue.ends_with(nullptr, 0);
  if (queue.runtime().ranks) queue.finish();  // which notices where another rank never sends
  queue.runtime().check(
      queue.runtime().api().copy(queue.stream(), at(dst, dst_offset), at(src, src_offset), bytes),
      "cudaMemcpyAsync");
}

}  // namespace maru::cuda
