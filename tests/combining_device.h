// Any device, as one that combines launches: each time it runs them in another order that their edges
// allow, drawn from a seed. An edge that is missing gives wrong results, sooner or later.
#pragma once

#include <algorithm>
#include <functional>
#include <memory>
#include <random>
#include <utility>
#include <vector>

#include "base/error.h"
#include "device/device.h"

namespace maru::testing {

class RandomOrder final : public Launch {
 public:
  RandomOrder(std::span<const OrderedLaunch> launches, unsigned seed)
      : launches_(launches.begin(), launches.end()), random_(seed), waits_(launches.size()) {
    followers_.resize(launches_.size());
    for (std::size_t i = 0; i < launches_.size(); ++i) {
      MARU_ASSERT(launches_[i].launch != nullptr && std::ranges::is_sorted(launches_[i].after));
      for (const std::size_t before : launches_[i].after) {
        MARU_ASSERT(before < i);
        followers_[before].push_back(i);
      }
    }
    ready_.reserve(launches_.size());
  }

  // Now by chance, now the latest that may, now the earliest.
  void run(Queue& queue) override {
    const unsigned way = random_() % 3;
    for (std::size_t i = 0; i < launches_.size(); ++i) {
      waits_[i] = launches_[i].after.size();
      if (waits_[i] == 0) ready_.push_back(i);
    }
    std::size_t done = 0;
    for (; !ready_.empty(); ++done) {
      auto next = ready_.begin() + static_cast<std::ptrdiff_t>(random_() % ready_.size());
      if (way == 1) next = std::ranges::max_element(ready_);
      if (way == 2) next = std::ranges::min_element(ready_);
      const std::size_t i = *next;
      ready_.erase(next);
      launches_[i].launch->run(queue);
      for (const std::size_t follower : followers_[i]) {
        if (--waits_[follower] == 0) ready_.push_back(follower);
      }
    }
    MARU_ASSERT(done == launches_.size());
  }

 private:
  std::vector<OrderedLaunch> launches_;
  std::mt19937 random_;
  std::vector<std::vector<std::size_t>> followers_;
  std::vector<std::size_t> waits_, ready_;
};

class CombiningDevice final : public Device {
 public:
  mutable std::size_t combined = 0;                                      // times
  bool combining = true;                                                 // else it is what it was
  std::function<std::unique_ptr<Launch>(std::unique_ptr<Launch>)> wrap;  // what was combined

  // `device` outlives it.
  explicit CombiningDevice(const Device& device, unsigned seed = 1) : device_(device), seed_(seed) {}

  std::string_view name() const override { return device_.name(); }
  std::string description() const override { return device_.description(); }
  std::span<const Heap* const> heaps() const override { return device_.heaps(); }
  const DeviceModel* model() const override { return device_.model(); }
  std::unique_ptr<Queue> make_queue() const override { return device_.make_queue(); }
  int channel_block() const override { return device_.channel_block(); }
  std::vector<Offer> offers(const Call& call) const override { return device_.offers(call); }
  std::unique_ptr<Kernel> compile(const Call& call, const Offer& offer) const override {
    return device_.compile(call, offer);
  }
  double copy_seconds(double bytes) const override { return device_.copy_seconds(bytes); }
  void transfer(Queue& queue, const Buffer& src, std::size_t src_offset, const Buffer& dst,
                std::size_t dst_offset, std::size_t bytes) const override {
    device_.transfer(queue, src, src_offset, dst, dst_offset, bytes);
  }
  bool computes(Precision precision) const override { return device_.computes(precision); }
  bool combines() const override { return combining; }
  std::unique_ptr<Launch> combine(std::span<const OrderedLaunch> launches) const override {
    auto launch = std::make_unique<RandomOrder>(launches, seed_ + static_cast<unsigned>(combined++));
    return wrap ? wrap(std::move(launch)) : std::move(launch);
  }

 private:
  const Device& device_;
  unsigned seed_;
};

}  // namespace maru::testing
