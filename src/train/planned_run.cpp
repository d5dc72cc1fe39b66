#include "train/planned_run.h"

#include <algorithm>

#include "base/error.h"

namespace maru {

PlannedRun::PlannedRun(const Graph& graph, std::span<const Device* const> devices,
                       const PlanOptions& options, StateMemory& states)
    : devices_(devices),
      planned_(make_plan(graph, devices, options)),
      weights_(pack_weights(planned_, devices)) {
  states.add(planned_.plan);
  executor_.emplace(planned_.plan, devices_, weights_, false, &states);
}

PlannedRun::~PlannedRun() = default;

std::span<std::byte> PlannedRun::look(const std::vector<Port>& ports, std::string_view name,
                                      Access access) {
  const auto port = std::ranges::find(ports, name, &Port::name);
  if (port == ports.end()) {
    std::string known;
    for (const Port& one : ports) known += (known.empty() ? "" : ", ") + one.name;
    throw Error("training", "one of " + known, fmt::format("\"{}\"", name));
  }
  auto view = views_.find(port->region);
  if (view == views_.end()) {
    HostView look =
        executor_->region(port->region).map(access, 0, port->desc.bytes(), &executor_->queue());
    view = views_.emplace(port->region, std::move(look)).first;
  }
  return view->second.bytes();
}

std::span<float> PlannedRun::input(std::string_view name) {
  const std::span<std::byte> bytes = look(plan().inputs, name, Access::write);
  return {reinterpret_cast<float*>(bytes.data()), bytes.size() / sizeof(float)};
}

std::span<const float> PlannedRun::output(std::string_view name) {
  const std::span<std::byte> bytes = look(plan().outputs, name, Access::read);
  return {reinterpret_cast<const float*>(bytes.data()), bytes.size() / sizeof(float)};
}

std::span<std::byte> PlannedRun::input_bytes(std::string_view name, std::size_t bytes) {
  const std::span<std::byte> all = look(plan().inputs, name, Access::write);
  MARU_ASSERT(bytes <= all.size());
  executor_->use_first(std::ranges::find(plan().inputs, name, &Port::name)->region, bytes);
  return all.first(bytes);
}

void PlannedRun::run() {
  views_.clear();
  executor_->run();
}

void PlannedRun::run_step(std::size_t step, std::size_t times) {
  views_.clear();
  executor_->run_step(step, times);
}

void PlannedRun::settle() {
  views_.clear();
  executor_->queue().finish();
}

HostView PlannedRun::settled_input(const Port& port) {
  return executor_->region(port.region).map(Access::read, 0, port.desc.bytes(), &executor_->queue());
}

void PlannedRun::copy_inputs(PlannedRun& from) {
  for (const Port& port : plan().inputs) {
    const Port& other = *std::ranges::find(from.plan().inputs, port.name, &Port::name);
    const Buffer& source = from.executor_->region(other.region);
    const Buffer& own = executor_->region(port.region);
    if (source.bytes() != own.bytes()) {
      const std::int64_t images = port.desc.shape[0];
      executor_->rebind(port.region, own.heap().allocate(source.bytes(), port.name),
                        {images, static_cast<std::int64_t>(source.bytes()) / images});
    }
    const HostView read = source.map(Access::read, 0, source.bytes(), &from.executor_->queue());
    const HostView written =
        executor_->region(port.region).map(Access::write, 0, source.bytes(), &executor_->queue());
    std::ranges::copy(read.bytes(), written.bytes().begin());
  }
}

std::size_t PlannedRun::memory_bytes() const {
  std::size_t bytes = 0;
  for (const Region& region : plan().regions) {
    if (region.kind != Region::Kind::state) bytes += region.bytes;
  }
  return bytes;
}

}  // namespace maru
