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
  executor_ = std::make_unique<Executor>(planned_.plan, devices_, weights_, false, &states);
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
    view = views_.emplace(port->region, look_at(*port, access)).first;
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

void PlannedRun::stop_looking() {
  views_.clear();
  executor_->queue().finish();
}

void PlannedRun::copy_inputs(const PlannedRun& from) {
  for (const Port& port : plan().inputs) {
    const auto& inputs = from.plan().inputs;
    const HostView read =
        from.look_at(*std::ranges::find(inputs, port.name, &Port::name), Access::read);
    std::ranges::copy(read.bytes(), look_at(port, Access::write).bytes().begin());
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
