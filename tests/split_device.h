// A device for tests of memory: it computes with the reference kernels, but only when somebody waits
// for it, and its heaps do what the strictest real ones do. Memory of its own no CPU address leads to;
// shared memory is at another address each time it is mapped (or each time that a test says so), and
// nowhere in between. So a missing wait
// reads stale bytes, and a touch outside of a map is a crash. What is mapped to be written alone comes
// with garbage, workspaces are scribbled over, and work that is given to the device while memory that
// is not concurrent is mapped is counted.
#pragma once

#include <sys/mman.h>
#include <unistd.h>

#include <algorithm>
#include <cstring>
#include <functional>
#include <set>
#include <string>
#include <utility>

#include "base/error.h"
#include "device/device.h"
#include "ops/identity.h"
#include "ops/reference.h"
#include "tests/layouts.h"

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
  SplitAllocation(std::size_t bytes, bool concurrent, int& open_views, const int& place)
      : bytes_(bytes),
        concurrent_(concurrent),
        open_views_(open_views),
        place_(place),
        file_(::memfd_create("maru test", 0)) {
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
  void* map(Access access, std::size_t offset, std::size_t bytes, Queue* queue) override {
    if (queue != nullptr) queue->finish();
    if (concurrent_) return static_cast<std::byte*>(device_) + offset;
    ++open_views_;
    if (access == Access::write) std::memset(static_cast<std::byte*>(device_) + offset, 0xFF, bytes);
    if (kept_ != nullptr) {
      if (place_ == kept_place_) return kept_ + offset;
      end(std::exchange(kept_, nullptr));
    }
    // Old mappings keep their addresses until they end, so a new one is elsewhere.
    void* base = ::mmap(nullptr, bytes_, PROT_READ | PROT_WRITE, MAP_SHARED, file_, 0);
    bases_.insert(static_cast<std::byte*>(base));
    if (place_ != 0) {
      kept_ = static_cast<std::byte*>(base);
      kept_place_ = place_;
    }
    return static_cast<std::byte*>(base) + offset;
  }
  void unmap(void* address, Access, std::size_t, Queue*) noexcept override {
    if (concurrent_) return;
    --open_views_;
    const auto base = std::prev(bases_.upper_bound(static_cast<std::byte*>(address)));
    if (*base != kept_) end(*base);
  }

 private:
  void end(std::byte* base) {
    ::munmap(base, bytes_);
    // Keeps the address taken, so that it is not given again and a late touch is a crash.
    ::mmap(base, bytes_, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0);
    bases_.erase(base);
  }

  std::size_t bytes_;
  bool concurrent_;
  int& open_views_;
  const int& place_;
  int kept_place_ = 0;
  std::byte* kept_ = nullptr;  // where it is mapped while place_ is what it was
  int file_;
  void* device_;
  std::set<std::byte*> bases_;
};

class SplitHeap final : public Heap {
 public:
  SplitHeap(std::string name, MemoryTraits traits, int& open_views, const int& place)
      : Heap(std::move(name), traits), open_views_(open_views), place_(place) {}

 protected:
  std::unique_ptr<Allocation> do_allocate(std::size_t bytes) const override {
    return std::make_unique<SplitAllocation>(bytes, traits().concurrent, open_views_, place_);
  }

 private:
  int& open_views_;
  const int& place_;
};

class SplitDevice final : public Device {
 public:
  std::set<std::string_view> unsupported;  // names of operators that only the CPU runs
  std::set<std::string_view> windowed;     // those whose operands and results may be windows
  std::set<std::string_view> in_place;
  std::set<std::string_view> channels_last;  // those that work so on images, and in no other layout
  bool has_halves = false;                   // data may be f16, too, and is rounded to it
  std::string kernel = "reference";          // what offers say; another name, and it is one of its own
  std::size_t workspace = 0;                 // bytes, of every kernel that computes
  mutable std::size_t transferred = 0;       // bytes, by all transfers
  mutable int given_while_mapped = 0;        // times that it got work when it must not
  // 0: what is mapped is elsewhere each time; else only where this is another number than the last
  // time.
  int place = 0;

  struct HeapSpec {
    std::string name;
    MemoryTraits traits;
  };
  static MemoryTraits traits(bool host, bool device, bool concurrent) {
    MemoryTraits traits;
    traits.host_visible = traits.host_cached = host;
    traits.device_visible = traits.device_cached = device;
    traits.concurrent = concurrent;
    traits.alignment = 64;
    return traits;
  }

  SplitDevice()
      : SplitDevice({{"own", traits(false, true, false)},
                     {"shared", traits(true, true, false)},
                     // The one heap whose native() is an address for the CPU.
                     {"pinned", traits(true, false, true)}}) {}
  explicit SplitDevice(const std::vector<HeapSpec>& heaps) {
    for (const HeapSpec& heap : heaps) {
      own_.push_back(std::make_unique<SplitHeap>(heap.name, heap.traits, open_views_, place));
      heaps_.push_back(own_.back().get());
    }
  }

  std::string_view name() const override { return "split"; }
  std::string description() const override { return "reference kernels behind a wall"; }
  std::span<const Heap* const> heaps() const override { return heaps_; }
  std::unique_ptr<Queue> make_queue() const override { return std::make_unique<LazyQueue>(); }
  int channel_block() const override { return 1; }
  bool computes(Precision precision) const override {
    return precision == Precision::fp32 || (precision == Precision::fp16 && has_halves);
  }
  double copy_seconds(double bytes) const override { return bytes / 1e9; }

  std::vector<Offer> offers(const Call& call) const override {
    if (unsupported.contains(call.op.name())) return {};
    const auto is_half = [](const TensorDesc& desc) { return desc.dtype == DType::f16; };
    if (!has_halves &&
        (std::ranges::any_of(call.src, is_half) || std::ranges::any_of(call.dst, is_half)))
      return {};
    Offer offer;
    offer.kernel = kernel;
    offer.src.assign(call.src.size(), Layout::plain());
    offer.dst.assign(call.dst.size(), Layout::plain());
    offer.seconds = 1e-6;
    if (channels_last.contains(call.op.name())) {
      const auto is_image = [](const TensorDesc& desc) { return desc.shape.rank() == 4; };
      for (std::size_t i = 0; i < call.src.size(); ++i) {
        if (is_image(call.src[i])) offer.src[i] = Layout::channels_last();
      }
      for (std::size_t i = 0; i < call.dst.size(); ++i) {
        if (is_image(call.dst[i])) offer.dst[i] = Layout::channels_last();
      }
    }
    const bool is_copy = call.op.as<Identity>() != nullptr;
    const auto exact = [&](const TensorDesc& desc, Layout& layout) {
      if (is_copy && desc.layout.kind != Layout::Kind::any) layout = desc.layout.dense();
    };
    for (std::size_t i = 0; i < call.src.size(); ++i) exact(call.src[i], offer.src[i]);
    for (std::size_t i = 0; i < call.dst.size(); ++i) exact(call.dst[i], offer.dst[i]);
    offer.src_window = offer.dst_window = is_copy || windowed.contains(call.op.name());
    offer.in_place = !is_copy && in_place.contains(call.op.name());
    return {offer};
  }
  std::unique_ptr<Kernel> compile(const Call& call, const Offer&) const override {
    return std::make_unique<LazyKernel>(call.op, call.op.as<Identity>() ? 0 : workspace, *this);
  }
  void transfer(Queue& queue, const Buffer& src, std::size_t src_offset, const Buffer& dst,
                std::size_t dst_offset, std::size_t bytes) const override {
    queue.finish();
    given_while_mapped += open_views_ > 0;
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
    const bool is_last = src.desc.layout.kind == Layout::Kind::channels_last;
    if (is_last || src.desc.layout.dense() != dst.desc.layout.dense() ||
        src.desc.dtype != dst.desc.dtype) {
      const auto room = [](const TensorView& view) {
        return std::span(static_cast<std::byte*>(view.data), view.desc.bytes());
      };
      return write(dst.desc, read(src.desc, room(src)), room(dst));
    }
    const auto size = static_cast<std::int64_t>(size_of(src.desc.dtype));
    const std::int64_t images = src.desc.shape.rank() > 0 ? src.desc.shape[0] : 1;
    copy_rows(dst.data, dst.desc.image_stride() * size, src.data, src.desc.image_stride() * size,
              src.desc.count() / images * size, images);
  }

  struct LazyLaunch final : Launch {
    LazyLaunch(Op o, const SplitDevice& d) : op(std::move(o)), device(d) {}
    void run(Queue& queue) override {
      device.given_while_mapped += device.open_views_ > 0;
      static_cast<LazyQueue&>(queue).add([this] {
        if (op.as<Identity>()) return copy(src[0], dst[0]);
        if (!workspace.empty()) std::ranges::fill(workspace, std::byte{0xFF});
        compute();
      });
    }
    // On tensors that stand alone, whatever their operands share.
    void compute() {
      std::vector<std::vector<std::byte>> memory;
      // The reference kernels know no halves.
      const auto alone = [&](const TensorView& view) {
        const bool is_last = view.desc.layout.kind == Layout::Kind::channels_last;
        TensorDesc desc = view.desc.with(is_last ? Layout::plain() : view.desc.layout.dense());
        if (desc.dtype == DType::f16) desc.dtype = DType::f32;
        return TensorView{desc, memory.emplace_back(std::max<std::size_t>(desc.bytes(), 1)).data()};
      };
      std::vector<TensorView> from, to;
      for (const TensorView& view : src) copy(view, from.emplace_back(alone(view)));
      for (const TensorView& view : dst) to.push_back(alone(view));
      op.reference(from, to);
      for (std::size_t i = 0; i < dst.size(); ++i) copy(to[i], dst[i]);
    }
    Op op;
    const SplitDevice& device;
    std::vector<TensorView> src, dst;
    std::span<std::byte> workspace;
  };

  struct LazyKernel final : Kernel {
    LazyKernel(Op o, std::size_t w, const SplitDevice& d) : op(std::move(o)), workspace(w), device(d) {}
    std::string name() const override { return "reference " + std::string(op.name()); }
    std::size_t workspace_bytes() const override { return workspace; }
    std::unique_ptr<Launch> bind(std::span<const Tensor> src, std::span<const Tensor> dst,
                                 const Tensor& scratch) const override {
      auto launch = std::make_unique<LazyLaunch>(op, device);
      if (workspace > 0) {
        launch->workspace = {static_cast<std::byte*>(scratch.buffer->native()) + scratch.offset,
                             workspace};
      }
      for (const Tensor& tensor : src) launch->src.push_back(view(tensor));
      for (const Tensor& tensor : dst) launch->dst.push_back(view(tensor));
      return launch;
    }
    Op op;
    std::size_t workspace;
    const SplitDevice& device;
  };

  mutable int open_views_ = 0;  // of memory that is not concurrent
  std::vector<std::unique_ptr<SplitHeap>> own_;
  std::vector<const Heap*> heaps_;
};

}  // namespace maru::testing
