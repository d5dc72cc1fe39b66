// A device for tests of memory: it computes with the reference kernels, but only when somebody waits
// for it, and its heaps do what the strictest real ones do. Memory of its own no CPU address leads to;
// shared memory is at another address each time it is mapped, and nowhere in between. So a missing wait
// reads stale bytes, and a touch outside of a map is a crash.
#pragma once

#include <sys/mman.h>
#include <unistd.h>

#include <cstring>
#include <functional>
#include <set>
#include <string>

#include "base/error.h"
#include "device/device.h"
#include "ops/identity.h"
#include "ops/reference.h"

namespace maru::testing {

// What is launched runs when it is waited for.
class LazyQueue final : public Queue {
 public:
  void add(std::function<void()> work) { work_.push_back(std::move(work)); }
  void finish() override {
    for (const auto& work : work_) work();
    work_.clear();
  }

 private:
  std::vector<std::function<void()>> work_;
};

// One file in memory, mapped once for the device and anew for each look of the CPU.
class SplitAllocation final : public Allocation {
 public:
  explicit SplitAllocation(std::size_t bytes) : bytes_(bytes), file_(::memfd_create("maru test", 0)) {
    MARU_ASSERT(file_ >= 0 && ::ftruncate(file_, static_cast<off_t>(bytes)) == 0);
    device_ = ::mmap(nullptr, bytes, PROT_READ | PROT_WRITE, MAP_SHARED, file_, 0);
  }
  SplitAllocation(const SplitAllocation&) = delete;
  SplitAllocation& operator=(const SplitAllocation&) = delete;
  ~SplitAllocation() override {
    ::munmap(device_, bytes_);
    ::close(file_);
  }

  void* native() const noexcept override { return device_; }
  void* map(Access, std::size_t offset, std::size_t, Queue* queue) override {
    if (queue != nullptr) queue->finish();
    // Old mappings keep their addresses until they end, so a new one is elsewhere.
    void* base = ::mmap(nullptr, bytes_, PROT_READ | PROT_WRITE, MAP_SHARED, file_, 0);
    bases_.insert(static_cast<std::byte*>(base));
    return static_cast<std::byte*>(base) + offset;
  }
  void unmap(void* address, Access, std::size_t, Queue*) noexcept override {
    const auto base = std::prev(bases_.upper_bound(static_cast<std::byte*>(address)));
    ::munmap(*base, bytes_);
    // Keeps the address taken, so that it is not given again and a late touch is a crash.
    ::mmap(*base, bytes_, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0);
    bases_.erase(base);
  }

 private:
  std::size_t bytes_;
  int file_;
  void* device_;
  std::set<std::byte*> bases_;
};

class SplitHeap final : public Heap {
 public:
  using Heap::Heap;

 protected:
  std::unique_ptr<Allocation> do_allocate(std::size_t bytes) const override {
    return std::make_unique<SplitAllocation>(bytes);
  }
};

class SplitDevice final : public Device {
 public:
  std::set<std::string_view> unsupported;  // names of operators that only the CPU runs
  mutable std::size_t transferred = 0;     // bytes, by all transfers

  std::string_view name() const override { return "split"; }
  std::string description() const override { return "reference kernels behind a wall"; }
  std::span<const Heap* const> heaps() const override { return heaps_; }
  std::unique_ptr<Queue> make_queue() const override { return std::make_unique<LazyQueue>(); }
  int channel_block() const override { return 1; }
  double copy_seconds(double bytes) const override { return bytes / 1e9; }

  std::vector<Offer> offers(const Call& call) const override {
    if (unsupported.contains(call.op.name())) return {};
    Offer offer;
    offer.kernel = "reference";
    offer.src.assign(call.src.size(), Layout::plain());
    offer.dst.assign(call.dst.size(), Layout::plain());
    offer.seconds = 1e-6;
    offer.src_window = offer.dst_window = call.op.as<Identity>() != nullptr;
    return {offer};
  }
  std::unique_ptr<Kernel> compile(const Call& call, const Offer&) const override {
    return std::make_unique<LazyKernel>(call.op);
  }
  void transfer(Queue& queue, const Buffer& src, std::size_t src_offset, const Buffer& dst,
                std::size_t dst_offset, std::size_t bytes) const override {
    queue.finish();
    std::memcpy(static_cast<std::byte*>(dst.native()) + dst_offset,
                static_cast<const std::byte*>(src.native()) + src_offset, bytes);
    transferred += bytes;
  }

 private:
  static TensorView view(const Tensor& tensor) {
    return {tensor.desc, static_cast<std::byte*>(tensor.buffer->native()) + tensor.offset};
  }

  // Image by image: either may be a window.
  static void copy(const TensorView& src, const TensorView& dst) {
    const auto size = static_cast<std::int64_t>(size_of(src.desc.dtype));
    const std::int64_t images = src.desc.shape.rank() > 0 ? src.desc.shape[0] : 1;
    copy_rows(dst.data, dst.desc.image_stride() * size, src.data, src.desc.image_stride() * size,
              src.desc.count() / images * size, images);
  }

  struct LazyLaunch final : Launch {
    explicit LazyLaunch(Op o) : op(std::move(o)) {}
    void run(Queue& queue) override {
      static_cast<LazyQueue&>(queue).add(
          [this] { op.as<Identity>() ? copy(src[0], dst[0]) : op.reference(src, dst); });
    }
    Op op;
    std::vector<TensorView> src, dst;
  };

  struct LazyKernel final : Kernel {
    explicit LazyKernel(Op o) : op(std::move(o)) {}
    std::string name() const override { return "reference " + std::string(op.name()); }
    std::unique_ptr<Launch> bind(std::span<const Tensor> src, std::span<const Tensor> dst,
                                 const Tensor&) const override {
      auto launch = std::make_unique<LazyLaunch>(op);
      for (const Tensor& tensor : src) launch->src.push_back(view(tensor));
      for (const Tensor& tensor : dst) launch->dst.push_back(view(tensor));
      return launch;
    }
    Op op;
  };

  static MemoryTraits traits(bool host, bool device, bool concurrent) {
    MemoryTraits traits;
    traits.host_visible = traits.host_cached = host;
    traits.device_visible = traits.device_cached = device;
    traits.concurrent = concurrent;
    traits.alignment = 64;
    return traits;
  }

  SplitHeap own_{"own", traits(false, true, false)}, shared_{"shared", traits(true, true, false)},
      // The one heap whose native() is an address for the CPU.
      pinned_{"pinned", traits(true, false, true)};
  const Heap* heaps_[3] = {&own_, &shared_, &pinned_};
};

}  // namespace maru::testing
