#include "measure/probe.h"

#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <cstring>
#include <limits>
#include <nlohmann/json.hpp>
#include <numeric>
#include <optional>

#include "base/cache_folder.h"
#include "base/error.h"
#include "ops/identity.h"

namespace maru {
namespace {

using Clock = std::chrono::steady_clock;

// The least of several: what the machine can do when nothing else is in the way.
template <class F>
double best_seconds(int times, F&& once) {
  double best = std::numeric_limits<double>::infinity();
  for (int i = 0; i < times; ++i) {
    const auto start = Clock::now();
    once();
    best = std::min(best, std::chrono::duration<double>(Clock::now() - start).count());
  }
  return best;
}

std::uint64_t sum_of(std::span<const std::byte> bytes) {
  std::uint64_t sums[8]{};
  const auto* words = reinterpret_cast<const std::uint64_t*>(bytes.data());
  for (std::size_t i = 0; i + 8 <= bytes.size() / sizeof(std::uint64_t); i += 8) {
    for (std::size_t k = 0; k < 8; ++k) sums[k] += words[i + k];
  }
  return std::accumulate(std::begin(sums), std::end(sums), std::uint64_t{0});
}

// The device's copy of one dense tensor, from one buffer to another.
class CopyKernel {
 public:
  CopyKernel(const Device& device, std::size_t bytes) {
    const TensorDesc desc{
        DType::f32, {1, 1, 1, static_cast<std::int64_t>(bytes / sizeof(float))}, Layout::plain()};
    desc_ = desc;
    const TensorDesc src[] = {desc}, dst[] = {desc};
    const bool constant[] = {false};
    const Op op = Identity{};
    const Call call{op, src, dst, constant};
    const auto offers = device.offers(call);
    if (!offers.empty())
      kernel_ = device.compile(call, *std::ranges::min_element(offers, {}, &Offer::seconds));
  }
  bool is_there() const { return kernel_ != nullptr && kernel_->workspace_bytes() == 0; }

  std::unique_ptr<Launch> bind(const Buffer& from, const Buffer& to) const {
    const Tensor src[] = {{desc_, &from, 0}}, dst[] = {{desc_, &to, 0}};
    return kernel_->bind(src, dst, {});
  }

 private:
  TensorDesc desc_;
  std::unique_ptr<Kernel> kernel_;
};

class Probe {
 public:
  Probe(const Device& device, std::size_t bytes)
      : device_(device), bytes_(bytes), queue_(device.make_queue()), speed_(assumed_speed(device)) {}

  DeviceSpeed run() {
    for (const Heap* heap : device_.heaps()) buffers_.push_back(room_in(*heap, bytes_));
    for (std::size_t i = 0; i < buffers_.size(); ++i) {
      if (buffers_[i] && device_.heaps()[i]->traits().host_visible) measure_host(i);
    }
    measure_device();
    measure_orders();
    measure_transfers();
    speed_.measured = true;
    return speed_;
  }

 private:
  static constexpr int kPasses = 7, kOrders = 50;
  static constexpr std::size_t kLittle = 4096, kPage = 4096;

  static Buffer room_in(const Heap& heap, std::size_t bytes) {
    try {
      return heap.allocate(bytes, "measuring memory");
    } catch (const Error&) {
      return {};  // it stays as assumed
    }
  }

  // A map that copies in secret shows as a slow read or write.
  void measure_host(std::size_t index) {
    const Buffer& buffer = buffers_[index];
    HeapSpeed& heap = speed_.heaps[index];
    const auto bytes = static_cast<double>(bytes_);
    const auto pass = [&](Access access, auto&& touch) {
      return best_seconds(kPasses, [&] { touch(buffer.map(access, 0, bytes_, queue_.get()).bytes()); });
    };
    const auto write = [](std::span<std::byte> to) { std::memset(to.data(), 1, to.size()); };
    pass(Access::write, write);  // the first touch makes the pages
    heap.map_seconds =
        best_seconds(kOrders, [&] { buffer.map(Access::read_write, 0, kLittle, queue_.get()); });
    volatile std::uint64_t sink = 0;
    const double reading = pass(Access::read, [&](std::span<std::byte> from) { sink = sum_of(from); });
    const double writing = pass(Access::write, write);
    heap.host_read = bytes / std::max(reading - heap.map_seconds, reading / 4);
    heap.host_write = bytes / std::max(writing - heap.map_seconds, writing / 4);
  }

  // What both sides see is measured as both use it: the CPU writes anew what the device then reads, and
  // reads what it wrote. Memory that moves between them on demand shows what that costs.
  void touch(const Buffer& buffer) {
    if (!buffer.heap().traits().host_visible) return;
    const HostView view = buffer.map(Access::read_write, 0, bytes_, queue_.get());
    for (std::size_t i = 0; i < bytes_; i += kPage) view.bytes()[i] = std::byte{1};
  }

  double copy_seconds(const CopyKernel& kernel, const Buffer& from, const Buffer& to) {
    const auto launch = kernel.bind(from, to), back = kernel.bind(to, from);
    const auto run = [&](Launch& one) {
      queue_->begin();
      one.run(*queue_);
      queue_->finish();
    };
    // Pages that nobody wrote are often one and the same, and read from the cache.
    run(*launch);
    run(*back);
    double best = std::numeric_limits<double>::infinity();
    for (int pass = 0; pass < kPasses; ++pass) {
      touch(from);
      touch(to);
      best = std::min(best, best_seconds(1, [&] { run(*launch); }));
    }
    return best;
  }

  void measure_device() {
    const CopyKernel kernel(device_, bytes_);
    if (!kernel.is_there()) return;
    const auto bytes = static_cast<double>(bytes_);
    std::optional<std::size_t> best;  // the heap with the fastest copy within itself
    double least = 0;
    std::vector<Buffer> second(buffers_.size());
    for (std::size_t i = 0; i < buffers_.size(); ++i) {
      if (!buffers_[i] || !device_.heaps()[i]->traits().device_visible) continue;
      second[i] = room_in(*device_.heaps()[i], bytes_);
      if (!second[i]) continue;
      const double seconds = copy_seconds(kernel, buffers_[i], second[i]);
      if (!best || seconds < least) {
        best = i;
        least = seconds;
      }
    }
    if (!best) return;
    const double half = least / 2;
    for (std::size_t i = 0; i < buffers_.size(); ++i) {
      if (!second[i]) continue;
      HeapSpeed& heap = speed_.heaps[i];
      if (i == *best) {
        heap.device_read = heap.device_write = bytes / half;
        continue;
      }
      const double reading = copy_seconds(kernel, buffers_[i], second[*best]) - half;
      const double writing = copy_seconds(kernel, second[*best], buffers_[i]) - half;
      // No heap is better than the best; what seems so is noise.
      heap.device_read = bytes / std::max(reading, half);
      heap.device_write = bytes / std::max(writing, half);
    }
  }

  void measure_orders() {
    if (device_.is_host()) return;
    const CopyKernel kernel(device_, kLittle);
    const auto usable = std::ranges::find_if(
        buffers_, [](const Buffer& b) { return b && b.heap().traits().device_visible; });
    if (!kernel.is_there() || usable == buffers_.end()) return;
    const Buffer to = room_in(usable->heap(), kLittle);
    if (!to) return;
    const auto launch = kernel.bind(*usable, to);
    const auto several = [&](int count) {
      queue_->begin();
      for (int i = 0; i < count; ++i) launch->run(*queue_);
      queue_->finish();
    };
    several(1);
    speed_.wait_seconds = best_seconds(kOrders, [&] { several(1); });
    const double many = best_seconds(kPasses, [&] { several(kOrders + 1); });
    speed_.launch_seconds = std::max(0.0, many - speed_.wait_seconds) / kOrders;
  }

  // Between memory of the device alone and what the CPU sees best.
  void measure_transfers() {
    const auto find = [&](auto&& is) -> const Buffer* {
      const auto at =
          std::ranges::find_if(buffers_, [&](const Buffer& b) { return b && is(b.heap().traits()); });
      return at == buffers_.end() ? nullptr : &*at;
    };
    const Buffer* own = find([](const MemoryTraits& t) { return t.device_visible && !t.host_visible; });
    const Buffer* host =
        find([](const MemoryTraits& t) { return !t.device_visible && t.host_visible; });
    if (own == nullptr || host == nullptr) return;
    const auto seconds = [&](const Buffer& from, const Buffer& to, std::size_t bytes, int times) {
      return best_seconds(times, [&] { device_.transfer(*queue_, from, 0, to, 0, bytes); });
    };
    speed_.transfer_seconds = seconds(*host, *own, kLittle, kOrders);
    const auto bytes = static_cast<double>(bytes_);
    const double up = seconds(*host, *own, bytes_, kPasses),
                 down = seconds(*own, *host, bytes_, kPasses);
    speed_.upload = bytes / std::max(up - speed_.transfer_seconds, up / 4);
    speed_.download = bytes / std::max(down - speed_.transfer_seconds, down / 4);
  }

  const Device& device_;
  std::size_t bytes_;
  std::unique_ptr<Queue> queue_;
  std::vector<Buffer> buffers_;  // per heap; empty where there was no room
  DeviceSpeed speed_;
};

constexpr const char* kKind = "memory";

std::string key_of(const Device& device) {
  char machine[256] = "";  // the cache folder may be shared by several
  ::gethostname(machine, sizeof machine - 1);
  std::string key =
      fmt::format("memory speed 3; {}; {}; {}", machine, device.name(), device.description());
  for (const Heap* heap : device.heaps())
    key += fmt::format("; {}: {}", heap->name(), heap->traits().str());
  return key;
}

std::optional<DeviceSpeed> parse(std::span<const unsigned char> bytes, std::size_t heaps) {
  const auto json = nlohmann::json::parse(bytes.begin(), bytes.end(), nullptr, false);
  if (json.is_discarded() || !json.is_array() || json.size() != 5 + 5 * heaps) return std::nullopt;
  for (const auto& number : json) {
    if (!number.is_number()) return std::nullopt;
  }
  DeviceSpeed speed{{}, json[0], json[1], json[2], json[3], json[4], true};
  for (std::size_t i = 0; i < heaps; ++i) {
    const std::size_t at = 5 + 5 * i;
    speed.heaps.push_back({json[at], json[at + 1], json[at + 2], json[at + 3], json[at + 4]});
  }
  return speed;
}

std::string print(const DeviceSpeed& speed) {
  nlohmann::json json{speed.launch_seconds, speed.wait_seconds, speed.upload, speed.download,
                      speed.transfer_seconds};
  for (const HeapSpeed& heap : speed.heaps) {
    for (const double number :
         {heap.host_read, heap.host_write, heap.device_read, heap.device_write, heap.map_seconds})
      json.push_back(number);
  }
  return json.dump();
}

}  // namespace

DeviceSpeed probe(const Device& device, std::size_t bytes) { return Probe(device, bytes).run(); }

DeviceSpeed speed_of(const Device& device, bool refresh) {
  if (device.model() != nullptr) return device.model()->expected.memory;
  const std::string key = key_of(device);
  if (!refresh) {
    if (const auto kept = read_cached(kKind, key)) {
      if (auto speed = parse(*kept, device.heaps().size())) return *std::move(speed);
    }
  }
  DeviceSpeed speed;
  try {
    speed = probe(device);
  } catch (const Error&) {
    return assumed_speed(device);  // a driver that fails here may still run a network
  }
  const std::string text = print(speed);
  write_cached(kKind, key, {reinterpret_cast<const unsigned char*>(text.data()), text.size()});
  return speed;
}

}  // namespace maru
