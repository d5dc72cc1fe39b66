#include "backends/board/board.h"

#include <cstring>

#include "backends/board/kernels.h"
#include "backends/board/memory.h"
#include "backends/board/profile.h"
#include "base/error.h"
#include "ops/all_reduce.h"
#include "ops/identity.h"
#include "ops/preprocess.h"

namespace maru {
namespace board {
namespace {

// Views of one launch, of which the kernel's bytes are where the device finds them.
struct Work {
  Op op;
  std::vector<TensorView> src, dst;
};

// What is launched runs when it is waited for: a wait that is missing shows as stale bytes. Until then
// the device counts as working.
class LazyQueue final : public Queue {
 public:
  explicit LazyQueue(BoardMemory& memory) : memory_(memory) {}
  LazyQueue(const LazyQueue&) = delete;
  LazyQueue& operator=(const LazyQueue&) = delete;
  ~LazyQueue() override {
    if (!work_.empty()) memory_.device_ends();
  }
  void add(const Work& work) {
    if (work_.empty()) memory_.device_starts();
    work_.push_back(&work);
  }
  void finish() override {
    if (work_.empty()) return;
    for (const Work* work : work_) compute(work->op, work->src, work->dst);
    work_.clear();
    memory_.device_ends();
  }

 private:
  BoardMemory& memory_;
  std::vector<const Work*> work_;
};

struct BoardLaunch final : Launch {
  explicit BoardLaunch(Op op) : work{std::move(op), {}, {}} {}
  void run(Queue& queue) override { static_cast<LazyQueue&>(queue).add(work); }
  Work work;
};

class BoardKernel final : public Kernel {
 public:
  BoardKernel(const BoardMemory& memory, Op op) : memory_(memory), op_(std::move(op)) {}
  std::string name() const override { return "reference " + std::string(op_.name()); }
  std::unique_ptr<Launch> bind(std::span<const Tensor> src, std::span<const Tensor> dst,
                               const Tensor&) const override {
    const auto view = [&](const Tensor& tensor) {
      return TensorView{tensor.desc, memory_.on_device(*tensor.buffer) + tensor.offset};
    };
    auto launch = std::make_unique<BoardLaunch>(op_);
    for (const Tensor& tensor : src) launch->work.src.push_back(view(tensor));
    for (const Tensor& tensor : dst) launch->work.dst.push_back(view(tensor));
    return launch;
  }

 private:
  const BoardMemory& memory_;
  Op op_;
};

bool all_f32(const Call& call) {
  for (const auto descs : {call.src, call.dst}) {
    for (const TensorDesc& desc : descs) {
      if (desc.dtype != DType::f32) return false;
    }
  }
  return true;
}

// The CPU's kernels beside the board like blocks of channels, so the board must know these.
bool can_copy(const TensorDesc& src, const TensorDesc& dst) {
  const auto is_known = [](const Layout& layout) {
    return layout.kind == Layout::Kind::plain || layout.kind == Layout::Kind::blocked;
  };
  if (!is_known(src.layout) || !is_known(dst.layout)) return false;
  return src.layout.dense() == dst.layout.dense() || (src.dtype == DType::f32 && src.shape.rank() == 4);
}

class BoardDevice final : public Device {
 public:
  explicit BoardDevice(Profile profile)
      : profile_(std::move(profile)), name_("board:" + profile_.name) {
    for (const HeapProfile& heap : profile_.heaps) {
      owned_.push_back(std::make_unique<BoardHeap>(memory_, heap));
      heaps_.push_back(owned_.back().get());
    }
  }

  std::string_view name() const override { return name_; }
  std::string description() const override {
    return fmt::format("{}, modelled: computed here, slowly; memory behaves as {}'s", profile_.title,
                       profile_.gpu);
  }
  std::span<const Heap* const> heaps() const override { return heaps_; }
  const DeviceModel* model() const override { return &profile_.model; }
  std::unique_ptr<Queue> make_queue() const override { return std::make_unique<LazyQueue>(memory_); }
  int channel_block() const override { return 1; }
  double copy_seconds(double bytes) const override {
    const HeapSpeed& own = profile_.model.expected.memory.heaps[0];
    return bytes / own.device_read + bytes / own.device_write;
  }

  std::vector<Offer> offers(const Call& call) const override {
    const bool is_copy = call.op.as<Identity>() != nullptr;
    const bool is_photo = call.op.as<Preprocess>() != nullptr && call.dst[0].dtype == DType::f32;
    if ((!is_copy && !is_photo && !all_f32(call)) || is_shared(call.op)) return {};
    if (is_copy && call.dst.size() != 1) return {};
    if (is_copy && !can_copy(call.src[0], call.dst[0])) return {};
    Offer offer;
    offer.kernel = "reference";
    offer.src.assign(call.src.size(), Layout::plain());
    offer.dst.assign(call.dst.size(), Layout::plain());
    offer.seconds = profile_.model.expected.memory.launch_seconds;
    offer.src_window = offer.dst_window = is_copy;
    if (is_copy) {
      offer.src[0] = call.src[0].layout.dense();
      offer.dst[0] = call.dst[0].layout.dense();
    }
    return {offer};
  }
  std::unique_ptr<Kernel> compile(const Call& call, const Offer&) const override {
    return std::make_unique<BoardKernel>(memory_, call.op);
  }

  void transfer(Queue& queue, const Buffer& src, std::size_t src_offset, const Buffer& dst,
                std::size_t dst_offset, std::size_t bytes) const override {
    queue.finish();
    std::memcpy(memory_.on_device(dst) + dst_offset, memory_.on_device(src) + src_offset, bytes);
  }

 private:
  Profile profile_;
  std::string name_;
  mutable BoardMemory memory_;
  std::vector<std::unique_ptr<BoardHeap>> owned_;
  std::vector<const Heap*> heaps_;
};

}  // namespace
}  // namespace board

std::vector<std::unique_ptr<Device>> board_devices(const DeviceOptions&) {
  std::vector<std::unique_ptr<Device>> devices;
  for (const std::string_view text : board::profile_texts())
    devices.push_back(std::make_unique<board::BoardDevice>(board::parse_profile(text)));
  return devices;
}

}  // namespace maru
