#include "train/planned_run.h"

#include <algorithm>
#include <numeric>

#include "base/error.h"

namespace maru {
namespace {

const Port& port_of(const std::vector<Port>& ports, std::string_view name) {
  const auto port = std::ranges::find(ports, name, &Port::name);
  if (port != ports.end()) return *port;
  std::string known;
  for (const Port& one : ports) known += (known.empty() ? "" : ", ") + one.name;
  throw Error("training", "one of " + known, fmt::format("\"{}\"", name));
}

bool may_be_written_meanwhile(const MemoryTraits& traits) {
  return traits.host_visible && traits.host_cached && traits.concurrent && !traits.migrates;
}

}  // namespace

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
  const Port& port = port_of(ports, name);
  MARU_ASSERT(!slots_.contains(port.region));
  auto view = views_.find(port.region);
  if (view == views_.end()) {
    HostView look =
        executor_->region(port.region).map(access, 0, port.desc.bytes(), &executor_->queue());
    view = views_.emplace(port.region, std::move(look)).first;
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
  executor_->use(port_of(plan().inputs, name).region, 0, bytes);
  return all.first(bytes);
}

std::span<const std::span<std::byte>> PlannedRun::make_slots(std::string_view name, std::size_t bytes,
                                                             std::size_t count, bool is_framed) {
  const Port& port = port_of(plan().inputs, name);
  MARU_ASSERT(bytes > 0 && count > 0 && !slots_.contains(port.region));
  const Region& region = plan().regions[port.region];
  const MemoryTraits& traits = region.heap->traits();
  if (!may_be_written_meanwhile(traits)) return {};
  std::size_t reads = 0, copies = 0;
  for (const Step& step : plan().steps) {
    if (std::ranges::find(step.src, port.region, &Operand::region) == step.src.end()) continue;
    // What the CPU reads beside another device is mapped in the ranges that were planned.
    if (step.device != 0) return {};
    ++(step.crosses() ? copies : reads);
  }
  const bool is_copied = reads == 0;
  if (!is_copied && (copies > 0 || !is_framed || !traits.coherent)) return {};

  constexpr std::size_t kApart = 256;
  const auto images = static_cast<std::size_t>(port.desc.shape[0]);
  const std::size_t unit = std::lcm(kApart, images);
  const std::size_t spacing = (bytes + unit - 1) / unit * unit, all = spacing * count;
  Shape shape = port.desc.shape;
  if (!is_copied) shape = {port.desc.shape[0], static_cast<std::int64_t>(all / images)};
  Buffer memory;
  try {
    memory = region.heap->allocate(all, port.name);
  } catch (const Error&) {
    return {};  // one of them is there
  }
  views_.erase(port.region);
  executor_->rebind(port.region, std::move(memory), shape);
  Slots slots{{}, is_copied, executor_->region(port.region).map(Access::write, 0, all, nullptr)};
  for (std::size_t i = 0; i < count; ++i)
    slots.memory.push_back(slots.view.bytes().subspan(i * spacing, bytes));
  return slots_.emplace(port.region, std::move(slots)).first->second.memory;
}

bool PlannedRun::copies_slots(std::string_view name) const {
  const auto slots = slots_.find(port_of(plan().inputs, name).region);
  return slots != slots_.end() && slots->second.is_copied;
}

std::optional<std::size_t> PlannedRun::take_slot(std::string_view name,
                                                 std::span<const std::byte> bytes) {
  const auto found = slots_.find(port_of(plan().inputs, name).region);
  if (found == slots_.end()) return std::nullopt;
  const Slots& slots = found->second;
  const auto is_this = [&](std::span<const std::byte> slot) { return slot.data() == bytes.data(); };
  if (std::ranges::none_of(slots.memory, is_this)) return std::nullopt;
  const auto offset = static_cast<std::size_t>(bytes.data() - slots.memory[0].data());
  executor_->use(found->first, offset, bytes.size());
  return slots.is_copied ? 0 : offset;
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
  const std::size_t offset = executor_->in_use(port.region).offset;
  return executor_->region(port.region)
      .map(Access::read, offset, port.desc.bytes(), &executor_->queue());
}

void PlannedRun::copy_inputs(PlannedRun& from) {
  for (const Port& port : plan().inputs) {
    const Port& other = *std::ranges::find(from.plan().inputs, port.name, &Port::name);
    const Buffer& source = from.executor_->region(other.region);
    const Executor::Used used = from.executor_->in_use(other.region);
    const std::size_t bytes = std::min(port.desc.bytes(), used.bytes);
    const bool is_read_in_place =
        from.slots_.contains(other.region) && !from.slots_.at(other.region).is_copied;
    const std::size_t to = is_read_in_place ? used.offset : 0;
    const Buffer& own = executor_->region(port.region);
    if (to + bytes > own.bytes()) {
      const std::int64_t images = port.desc.shape[0];
      const std::int64_t each = (static_cast<std::int64_t>(to + bytes) + images - 1) / images;
      executor_->rebind(port.region,
                        own.heap().allocate(static_cast<std::size_t>(images * each), port.name),
                        {images, each});
    }
    executor_->use(port.region, 0, to + bytes);
    const HostView read = source.map(Access::read, used.offset, bytes, &from.executor_->queue());
    const HostView written =
        executor_->region(port.region).map(Access::write, to, bytes, &executor_->queue());
    std::ranges::copy(read.bytes(), written.bytes().begin());
  }
}

std::size_t PlannedRun::memory_bytes() const {
  std::size_t bytes = 0;
  for (std::size_t r = 0; r < plan().regions.size(); ++r) {
    const Region& region = plan().regions[r];
    if (region.kind != Region::Kind::state)
      bytes += slots_.contains(r) ? executor_->region(r).bytes() : region.bytes;
  }
  return bytes;
}

}  // namespace maru
