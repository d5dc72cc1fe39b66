#include "run/weights.h"

#include <algorithm>
#include <chrono>
#include <optional>

namespace maru {
namespace {

// Where the CPU writes what a device's own memory is to hold.
const Heap& staging_heap(std::span<const Device* const> devices) {
  for (const Heap* heap : devices[0]->heaps()) {
    if (heap->traits().host_visible && !heap->traits().device_visible) return *heap;
  }
  return *devices.back()->heaps()[0];
}

// One constant after the other through a buffer of the largest one's size.
class Upload {
 public:
  Upload(const Planned& planned, std::size_t region, std::span<const Device* const> devices,
         Ledger& ledger)
      : device_(*devices[0]), queue_(device_.make_queue()), ledger_(ledger) {
    std::size_t largest = 1;
    for (const PackedConstant& packed : planned.constants) {
      if (packed.region == region) largest = std::max(largest, packed.bytes);
    }
    const Heap& heap = staging_heap(devices);
    staging_ = heap.allocate(largest, "weights on their way to the device");
    entry_ = ledger.open("load", "weights", planned.plan.regions[region].why, heap.name(),
                         planned.plan.regions[region].heap->name());
  }

  void pack(const Buffer& weights, const PackedConstant& packed) {
    using Clock = std::chrono::steady_clock;
    packed.kernel->pack(packed.operand, *packed.constant,
                        staging_.map(Access::write, 0, packed.bytes).bytes());
    const auto start = Clock::now();
    device_.transfer(*queue_, staging_, 0, weights, packed.offset, packed.bytes);
    ledger_.count(entry_, packed.bytes, std::chrono::duration<double>(Clock::now() - start).count());
  }

 private:
  const Device& device_;
  std::unique_ptr<Queue> queue_;
  Buffer staging_;
  Ledger& ledger_;
  std::size_t entry_ = 0;
};

}  // namespace

Weights pack_weights(const Planned& planned, std::span<const Device* const> devices) {
  Weights weights;
  for (std::size_t r = 0; r < planned.plan.regions.size(); ++r) {
    const Region& region = planned.plan.regions[r];
    if (region.kind != Region::Kind::weights) continue;
    Buffer& buffer = weights.buffers.emplace_back();
    if (region.bytes == 0) continue;
    buffer = region.heap->allocate(region.bytes, region.name);
    std::optional<Upload> upload;
    std::optional<HostView> in_place;
    if (region.heap->traits().host_visible) {
      in_place.emplace(buffer.map(Access::write));
    } else {
      upload.emplace(planned, r, devices, weights.ledger);
    }
    for (const PackedConstant& packed : planned.constants) {
      if (packed.region != r) continue;
      if (upload) {
        upload->pack(buffer, packed);
      } else {
        packed.kernel->pack(packed.operand, *packed.constant,
                            in_place->bytes().subspan(packed.offset, packed.bytes));
      }
      packed.constant->release_pages();  // weights are in memory once
    }
  }
  return weights;
}

}  // namespace maru
