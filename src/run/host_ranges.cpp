#include "run/host_ranges.h"

#include <algorithm>

#include "base/error.h"

namespace maru {
namespace {

// An address that somebody else keeps mapped.
class Address final : public Allocation {
 public:
  explicit Address(void* address) : address_(address) {}
  void* native() const noexcept override { return address_; }
  void* map(Access, std::size_t offset, std::size_t, Queue*) override {
    return static_cast<std::byte*>(address_) + offset;
  }
  void unmap(void*, Access, std::size_t, Queue*) noexcept override {}

 private:
  void* address_;
};

bool has_address(const Heap& heap) {
  // Its native handle is the host's address where the device's kernels cannot use it.
  return heap.traits().host_visible && !heap.traits().device_visible;
}

}  // namespace

HostRanges::HostRanges(const Plan& plan, std::span<const Buffer* const> buffers, Queue& queue)
    : plan_(plan), buffers_(buffers), queue_(queue), always_(plan.regions.size()) {
  std::size_t holds = kNone;
  for (const Step& step : plan.steps) {
    if (step.kind == Step::Kind::wait) {
      HandOver ranges = ranges_of(plan, step);
      holds = ranges.empty() ? kNone : hand_overs_.size();
      if (!ranges.empty()) hand_overs_.push_back(std::move(ranges));
    }
    of_step_.push_back(holds);
    if (step.kind == Step::Kind::release) holds = kNone;
  }
  for (std::size_t r = 0; r < plan.regions.size(); ++r) map_for_good(r);
  for (std::size_t h = 0; h < hand_overs_.size(); ++h) {  // to know the addresses
    map(h);
    unmap(h);
  }
}

HostRanges::HandOver HostRanges::ranges_of(const Plan& plan, const Step& wait) {
  HandOver ranges;
  const auto add = [&](const Operand& operand, Access access) {
    const std::size_t alignment =
        std::max<std::size_t>(plan.regions[operand.region].heap->traits().alignment, 64);
    const std::size_t begin = operand.offset / alignment * alignment;
    const std::size_t end = operand.offset + operand.desc.bytes();
    // What is mapped beside the operand, or between its images, is somebody else's and must survive.
    if (begin != operand.offset || operand.desc.layout.is_window()) access = Access::read_write;
    ranges.push_back({operand.region, begin, end, access});
  };
  for (const Operand& operand : wait.src) add(operand, Access::read);
  for (const Operand& operand : wait.dst) add(operand, Access::write);
  std::ranges::sort(ranges, [](const Range& a, const Range& b) {
    return std::pair(a.region, a.begin) < std::pair(b.region, b.begin);
  });
  HandOver merged;  // ranges that are mapped at once must not overlap
  for (Range& range : ranges) {
    if (merged.empty() || merged.back().region != range.region || merged.back().end <= range.begin) {
      merged.push_back(std::move(range));
      continue;
    }
    Range& last = merged.back();
    if (last.access != range.access || last.begin != range.begin || last.end != range.end)
      last.access = Access::read_write;
    last.end = std::max(last.end, range.end);
  }
  return merged;
}

void HostRanges::map_for_good(std::size_t region) {
  if (plan_.devices.size() < 2) return;  // no CPU beside the device
  const Buffer* buffer = buffers_[region];
  if (buffer == nullptr || !*buffer || !buffer->heap().traits().concurrent ||
      !buffer->heap().traits().host_visible)
    return;
  always_[region] = {region, 0, buffer->bytes(), Access::read_write};
  open(always_[region]);
}

bool HostRanges::open(Range& range) {
  range.view.reset();
  const std::size_t bytes = range.end - range.begin;
  const HostView& view =
      range.view.emplace(buffers_[range.region]->map(range.access, range.begin, bytes, &queue_));
  if (range.alias && range.alias.native() == view.bytes().data()) return false;
  range.alias =
      Buffer(buffers_[range.region]->heap(), std::make_unique<Address>(view.bytes().data()), bytes);
  return true;
}

Tensor HostRanges::tensor(const Operand& operand, TensorDesc desc, std::size_t hand_over) const {
  const Buffer* buffer = buffers_[operand.region];
  if (has_address(buffer->heap())) return {desc, buffer, operand.offset};
  if (always_[operand.region].alias) return {desc, &always_[operand.region].alias, operand.offset};
  MARU_ASSERT(hand_over != kNone);
  for (const Range& range : hand_overs_[hand_over]) {
    if (range.region == operand.region && range.begin <= operand.offset && operand.offset < range.end)
      return {desc, &range.alias, operand.offset - range.begin};
  }
  MARU_ASSERT(false && "a wait hands over what the CPU's steps touch");
  return {};
}

bool HostRanges::is_open(const Operand& operand, std::size_t hand_over) const {
  if (has_address(buffers_[operand.region]->heap())) return true;
  if (always_[operand.region].view) return true;
  if (hand_over == kNone) return false;
  return std::ranges::any_of(hand_overs_[hand_over], [&](const Range& range) {
    return range.region == operand.region && range.begin <= operand.offset &&
           operand.offset < range.end && range.view.has_value();
  });
}

bool HostRanges::map(std::size_t hand_over) {
  bool moved = false;
  for (Range& range : hand_overs_[hand_over]) moved = open(range) || moved;
  return moved;
}

void HostRanges::unmap(std::size_t hand_over) noexcept {
  for (Range& range : hand_overs_[hand_over]) range.view.reset();
}

void HostRanges::unmap_all() noexcept {
  for (std::size_t h = 0; h < hand_overs_.size(); ++h) unmap(h);
}

void HostRanges::drop(std::size_t region) { always_[region] = {}; }

std::vector<std::size_t> HostRanges::remap(std::size_t region) {
  std::vector<std::size_t> moved;
  map_for_good(region);
  for (std::size_t h = 0; h < hand_overs_.size(); ++h) {
    if (std::ranges::none_of(hand_overs_[h],
                             [&](const Range& range) { return range.region == region; }))
      continue;
    if (map(h)) moved.push_back(h);
    unmap(h);
  }
  return moved;
}

}  // namespace maru
