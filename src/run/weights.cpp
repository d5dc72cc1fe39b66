#include "run/weights.h"

#include <algorithm>
#include <chrono>
#include <cstdint>
#include <optional>

#include "base/error.h"

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
    entry_ = ledger.open({"load", "weights", planned.plan.regions[region].why, heap.name(),
                          planned.plan.regions[region].heap->name(), true});
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

// Memory of the caller's, when the heap takes it as it is. Some drivers refuse pages of a file.
std::optional<Buffer> imported(const Heap& heap, std::span<const std::byte> bytes) {
  const bool aligned = reinterpret_cast<std::uintptr_t>(bytes.data()) % heap.traits().alignment == 0;
  if (!heap.traits().imports_read_only || !aligned) return std::nullopt;
  try {
    return heap.import_read_only(bytes.data(), bytes.size());
  } catch (const Error&) {
    return std::nullopt;
  }
}

// What the CPU cannot write to takes its bytes by way of memory that both see, a piece at a time.
void upload(const Device& device, const Heap& staging_heap, std::span<const std::byte> bytes,
            const Buffer& dst) {
  constexpr std::size_t kPiece = std::size_t{4} << 20;
  const auto queue = device.make_queue();
  const Buffer staging =
      staging_heap.allocate(std::min(kPiece, bytes.size()), "weights on their way to the device");
  for (std::size_t at = 0; at < bytes.size(); at += kPiece) {
    const auto piece = bytes.subspan(at, std::min(kPiece, bytes.size() - at));
    std::ranges::copy(piece, staging.map(Access::write, 0, piece.size()).bytes().begin());
    device.transfer(*queue, staging, 0, dst, at, piece.size());
  }
}

}  // namespace

Weights take_weights(const Plan& plan, std::span<const Device* const> devices,
                     std::span<const std::span<const std::byte>> packed) {
  using Clock = std::chrono::steady_clock;
  Weights weights;
  for (const Region& region : plan.regions) {
    if (region.kind != Region::Kind::weights) continue;
    const auto bytes = packed[weights.buffers.size()];
    MARU_ASSERT(bytes.size() == region.bytes);
    Buffer& buffer = weights.buffers.emplace_back();
    weights.in_file.push_back(false);
    if (region.bytes == 0) continue;
    if (auto pages = imported(*region.heap, bytes)) {
      buffer = std::move(*pages);
      weights.in_file.back() = true;
      continue;
    }
    const auto start = Clock::now();
    buffer = region.heap->allocate(region.bytes, region.name);
    if (region.heap->traits().host_visible) {
      std::ranges::copy(bytes, buffer.map(Access::write).bytes().begin());
    } else {
      upload(*devices[0], staging_heap(devices), bytes, buffer);
    }
    const bool crosses = !region.heap->traits().host_visible;
    const std::size_t entry =
        weights.ledger.open({"load", "weights", "this memory cannot be a file's pages", "file",
                             region.heap->name(), crosses});
    weights.ledger.count(entry, region.bytes,
                         std::chrono::duration<double>(Clock::now() - start).count());
  }
  return weights;
}

Weights pack_weights(Planned& planned, std::span<const Device* const> devices) {
  Weights weights;
  // What rewriting made is in memory already and is let go first; a file's pages come one by one.
  std::stable_partition(planned.constants.begin(), planned.constants.end(),
                        [](const PackedConstant& packed) { return !packed.constant->is_in_file(); });
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
    for (PackedConstant& packed : planned.constants) {
      if (packed.region != r) continue;
      if (upload) {
        upload->pack(buffer, packed);
      } else {
        packed.kernel->pack(packed.operand, *packed.constant,
                            in_place->bytes().subspan(packed.offset, packed.bytes));
      }
      packed.constant->release_pages();
      packed.constant.reset();
    }
  }
  return weights;
}

}  // namespace maru
