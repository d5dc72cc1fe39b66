#include "run/state_memory.h"

#include <algorithm>

#include "base/error.h"

namespace maru {

void StateMemory::add(const Plan& plan) {
  for (const Port& port : plan.states) {
    const Region& region = plan.regions[port.region];
    const auto known = held_.find(port.name);
    if (known != held_.end()) {
      MARU_ASSERT(known->second.desc == port.desc && &known->second.buffer.heap() == region.heap);
      continue;
    }
    held_.emplace(port.name, Held{port.desc, region.heap->allocate(region.bytes, port.name)});
    if (!region.heap->traits().host_visible) make_staging(region.bytes);
    write(port.name, std::vector<float>(static_cast<std::size_t>(port.desc.count())));
  }
}

const StateMemory::Held& StateMemory::held(const std::string& name) const {
  const auto found = held_.find(name);
  MARU_ASSERT(found != held_.end());
  return found->second;
}

const Buffer& StateMemory::at(const std::string& name) const { return held(name).buffer; }

Shape StateMemory::shape_of(const std::string& name) const { return held(name).desc.shape; }

std::vector<std::string> StateMemory::names() const {
  std::vector<std::string> names;
  for (const auto& [name, held] : held_) names.push_back(name);
  return names;
}

std::size_t StateMemory::bytes() const {
  std::size_t bytes = 0;
  for (const auto& [name, held] : held_) bytes += held.buffer.bytes();
  return bytes;
}

void StateMemory::make_staging(std::size_t bytes) {
  if (staging_ && staging_.bytes() >= bytes) return;
  const auto seen = std::ranges::find_if(device_.heaps(),
                                         [](const Heap* heap) { return heap->traits().host_visible; });
  if (seen == device_.heaps().end()) throw Error(device_.name(), "memory that the CPU sees", "none");
  if (!queue_) queue_ = device_.make_queue();
  staging_ = (*seen)->allocate(bytes, "copies of states");
}

void StateMemory::write(const std::string& name, std::span<const float> values) const {
  const Held& to = held(name);
  MARU_ASSERT(values.size_bytes() == to.desc.bytes());
  const bool is_seen = to.buffer.heap().traits().host_visible;
  const Buffer& seen = is_seen ? to.buffer : staging_;
  std::ranges::copy(values, seen.map(Access::write, 0, values.size_bytes()).as<float>().begin());
  if (is_seen) return;
  queue_->begin();
  device_.transfer(*queue_, staging_, 0, to.buffer, 0, values.size_bytes());
  queue_->finish();
}

void StateMemory::read(const std::string& name, std::span<float> values) const {
  const Held& from = held(name);
  MARU_ASSERT(values.size_bytes() == from.desc.bytes());
  const bool is_seen = from.buffer.heap().traits().host_visible;
  if (!is_seen) {
    queue_->begin();
    device_.transfer(*queue_, from.buffer, 0, staging_, 0, values.size_bytes());
    queue_->finish();
  }
  const HostView view = (is_seen ? from.buffer : staging_).map(Access::read, 0, values.size_bytes());
  std::ranges::copy(view.as<float>(), values.begin());
}

}  // namespace maru
