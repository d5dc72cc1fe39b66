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

Buffer StateMemory::staging(const Held& held) const {
  if (held.buffer.heap().traits().host_visible) return {};
  for (const Heap* heap : device_.heaps()) {
    if (heap->traits().host_visible) return heap->allocate(held.buffer.bytes(), "a copy of a state");
  }
  throw Error(device_.name(), "memory that the CPU sees", "none");
}

void StateMemory::write(const std::string& name, std::span<const float> values) const {
  const Held& to = held(name);
  MARU_ASSERT(values.size_bytes() == to.desc.bytes());
  const Buffer between = staging(to);
  const Buffer& seen = between ? between : to.buffer;
  std::ranges::copy(values, seen.map(Access::write, 0, values.size_bytes()).as<float>().begin());
  if (!between) return;
  const auto queue = device_.make_queue();
  queue->begin();
  device_.transfer(*queue, between, 0, to.buffer, 0, values.size_bytes());
  queue->finish();
}

void StateMemory::read(const std::string& name, std::span<float> values) const {
  const Held& from = held(name);
  MARU_ASSERT(values.size_bytes() == from.desc.bytes());
  const Buffer between = staging(from);
  if (between) {
    const auto queue = device_.make_queue();
    queue->begin();
    device_.transfer(*queue, from.buffer, 0, between, 0, values.size_bytes());
    queue->finish();
  }
  const HostView view = (between ? between : from.buffer).map(Access::read, 0, values.size_bytes());
  std::ranges::copy(view.as<float>(), values.begin());
}

}  // namespace maru
