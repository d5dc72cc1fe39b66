#include "run/executor.h"

#include <algorithm>
#include <chrono>
#include <stdexcept>

#include "base/error.h"
#include "plan/check.h"

namespace maru {

Executor::Executor(const Plan& plan, std::span<const Device* const> devices, const Weights& weights,
                   bool check, const StateMemory* states)
    : plan_(plan),
      devices_(devices),
      own_(plan.regions.size()),
      buffers_(plan.regions.size()),
      reshaped_(plan.regions.size()),
      used_(plan.regions.size()),
      check_(check || is_checking_all()) {
  std::size_t next_weights = 0;
  for (std::size_t r = 0; r < plan.regions.size(); ++r) {
    const Region& region = plan.regions[r];
    if (region.kind == Region::Kind::weights) {
      buffers_[r] = &weights.buffers.at(next_weights++);
    } else if (region.kind == Region::Kind::state) {
      MARU_ASSERT(states != nullptr);
      buffers_[r] = &states->at(region.name);
    } else {
      set_buffer(r, region.bytes > 0 ? region.heap->allocate(region.bytes, region.name) : Buffer());
    }
  }
  // After the memory: a queue takes some too, and without room it is a region that should be named.
  for (const Device* device : devices) queues_.push_back(device->make_queue());
  host_ranges_ = std::make_unique<HostRanges>(plan, buffers_, *queues_[0]);
  for (std::size_t i = 0; i < plan.steps.size(); ++i) {
    const Step& step = plan.steps[i];
    Bound bound{step.kernel ? bind(i) : nullptr};
    if (check_ && step.kernel) bound.addresses = addresses_of(i);
    if (step.kind == Step::Kind::copy) {
      const auto heap = [&](const Operand& operand) {
        return plan.regions[operand.region].heap->name();
      };
      bound.ledger_entry = ledger_.open({step.name, step.src[0].name, step.why, heap(step.src[0]),
                                         heap(step.dst[0]), step.crosses()});
    }
    steps_.push_back(std::move(bound));
  }
  if (!plan.combines) return;
  const std::vector<std::size_t> row_of = plan.rows();
  for (std::size_t i = 0; i < row_of.size(); ++i) {
    if (row_of[i] == i) continue;
    if (row_of[i] == i - 1) rows_.push_back({i - 1, i + 1, nullptr});
    rows_.back().end = i + 1;
  }
}

Executor::~Executor() { settle(); }

// Nothing is mapped and nothing is under way any more, whatever went wrong before.
void Executor::settle() noexcept {
  if (host_ranges_) host_ranges_->unmap_all();
  for (const auto& queue : queues_) {
    try {
      queue->finish();
    } catch (...) {  // the device failed; whoever uses it next is told
    }
  }
}

void Executor::set_buffer(std::size_t region, Buffer buffer) {
  if (host_ranges_) host_ranges_->drop(region);
  own_[region] = std::move(buffer);
  buffers_[region] = &own_[region];
}

// The CPU beside another device sees that one's memory through the ranges that are mapped for it.
bool Executor::is_through_map(const Step& step, const Operand& operand) const {
  if (step.device == 0 || !devices_[step.device]->is_host()) return false;
  const auto own_heaps = devices_[step.device]->heaps();
  return std::ranges::find(own_heaps, &buffers_[operand.region]->heap()) == own_heaps.end();
}

std::vector<const void*> Executor::addresses_of(std::size_t index) const {
  const Step& step = plan_.steps[index];
  std::vector<const void*> addresses;
  for (const auto* operands : {&step.src, &step.dst}) {
    for (const Operand& operand : *operands) {
      if (!is_through_map(step, operand)) continue;
      const Tensor tensor = host_ranges_->tensor(operand, operand.desc, host_ranges_->during(index));
      addresses.push_back(static_cast<const std::byte*>(tensor.buffer->native()) + tensor.offset);
    }
  }
  return addresses;
}

void Executor::watch(std::size_t index) {
  const Step& step = plan_.steps[index];
  if (!devices_[step.device]->is_host()) {
    // A transfer returns when all that was given before is done.
    if (step.kind != Step::Kind::release)
      is_device_busy_ = step.kind != Step::Kind::wait && !step.crosses();
    return;
  }
  for (const auto* operands : {&step.src, &step.dst}) {
    for (const Operand& operand : *operands) {
      if (!is_through_map(step, operand)) continue;
      const MemoryTraits& traits = buffers_[operand.region]->heap().traits();
      const bool is_shared = traits.device_visible && !traits.concurrent;
      if ((is_shared && is_device_busy_) ||
          !host_ranges_->is_open(operand, host_ranges_->during(index)))
        throw std::logic_error(
            fmt::format("maru bug: step {} {} touches {}, which {}", index, step.name, operand.name,
                        is_device_busy_ ? "the device may still use" : "is not mapped for the CPU"));
    }
  }
  if (step.kernel && addresses_of(index) != steps_[index].addresses)
    throw std::logic_error(
        fmt::format("maru bug: step {} {} was bound to memory that is mapped "
                    "elsewhere now",
                    index, step.name));
}

std::unique_ptr<Launch> Executor::bind(std::size_t index) const {
  const Step& step = plan_.steps[index];
  const auto tensor = [&](const Operand& operand) {
    TensorDesc desc = operand.desc;
    if (const auto& shape = reshaped_[operand.region]) desc.shape = *shape;
    const Buffer* buffer = buffers_[operand.region];
    if (!is_through_map(step, operand)) return Tensor{desc, buffer, operand.offset};
    return host_ranges_->tensor(operand, desc, host_ranges_->during(index));
  };
  std::vector<Tensor> src, dst;
  std::ranges::transform(step.src, std::back_inserter(src), tensor);
  std::ranges::transform(step.dst, std::back_inserter(dst), tensor);
  Tensor workspace;
  if (const auto bytes = static_cast<std::int64_t>(step.kernel->workspace_bytes()); bytes > 0) {
    workspace = {
        {DType::u8, {bytes}, Layout::plain()}, buffers_[step.workspace_region], step.workspace_offset};
  }
  return step.kernel->bind(src, dst, workspace);
}

void Executor::rebind(std::size_t region, Buffer buffer, Shape shape) {
  MARU_ASSERT(plan_.regions[region].kind == Region::Kind::input ||
              plan_.regions[region].kind == Region::Kind::output);
  for (const auto& queue : queues_) queue->finish();  // what still uses the old one
  const bool is_input = plan_.regions[region].kind == Region::Kind::input;
  const auto& ports = is_input ? plan_.inputs : plan_.outputs;
  const auto is_its = [&](const Port& port) { return port.region == region; };
  TensorDesc desc = std::ranges::find_if(ports, is_its)->desc;
  desc.shape = shape;
  const std::size_t bytes = desc.bytes();
  MARU_ASSERT(buffer.bytes() >= bytes);
  const bool is_as_planned = std::ranges::any_of(
      ports, [&](const Port& port) { return is_its(port) && port.desc.shape == shape; });
  std::vector<std::size_t> changed{region};
  for (std::size_t r = 0; r < plan_.regions.size(); ++r) {
    if (plan_.regions[r].mirrors != region) continue;
    if (own_[r].bytes() < bytes)
      set_buffer(r, plan_.regions[r].heap->allocate(bytes, plan_.regions[r].name));
    changed.push_back(r);
  }
  set_buffer(region, std::move(buffer));
  std::vector<std::size_t> moved;
  for (const std::size_t r : changed) {
    // Of a region that keeps its shape, operands may be parts.
    reshaped_[r] = is_as_planned ? std::nullopt : std::optional(shape);
    for (const std::size_t hand_over : host_ranges_->remap(r)) moved.push_back(hand_over);
  }
  for (std::size_t i = 0; i < steps_.size(); ++i) {
    const auto touches = [&](const Operand& operand) {
      return std::ranges::find(changed, operand.region) != changed.end();
    };
    const Step& step = plan_.steps[i];
    const bool is_moved =
        step.device != 0 && std::ranges::find(moved, host_ranges_->during(i)) != moved.end();
    if (step.kernel && (is_moved || std::ranges::any_of(step.src, touches) ||
                        std::ranges::any_of(step.dst, touches))) {
      rebind_step(i);
    }
  }
}

std::size_t Executor::bytes_to_copy(const Step& step) const {
  const Operand& src = step.src[0];
  TensorDesc desc = src.desc;
  if (const auto& shape = reshaped_[src.region]) desc.shape = *shape;
  return std::min(desc.bytes(), used_[src.region].bytes);
}

void Executor::run() {
  try {
    run_steps();
  } catch (...) {
    settle();
    throw;
  }
}

void Executor::run_steps() {
  for (const auto& queue : queues_) queue->begin();
  auto row = rows_.begin();
  for (std::size_t i = 0; i < steps_.size(); ++i) {
    if (row != rows_.end() && row->begin == i) {
      run_row(*row);
      i = row->end - 1;
      ++row;
      continue;
    }
    run_alone(i);
  }
  // Another device's work has been waited for by the plan's own steps.
  for (std::size_t d = 0; d < devices_.size(); ++d) {
    if (devices_[d]->is_host()) queues_[d]->finish();
  }
}

void Executor::run_alone(std::size_t i) {
  const Step& step = plan_.steps[i];
  Queue& queue = *queues_[step.device];
  if (check_) watch(i);
  switch (step.kind) {
    case Step::Kind::kernel:
      steps_[i].launch->run(queue);
      break;
    case Step::Kind::copy: {
      using Clock = std::chrono::steady_clock;
      const auto start = Clock::now();
      const std::size_t bytes = bytes_to_copy(step);
      if (step.kernel) {
        steps_[i].launch->run(queue);
      } else {
        const Operand& src = step.src[0];
        devices_[0]->transfer(queue, *buffers_[src.region], src.offset + used_[src.region].offset,
                              *buffers_[step.dst[0].region], step.dst[0].offset, bytes);
      }
      const std::chrono::duration<double> took = Clock::now() - start;
      ledger_.count(steps_[i].ledger_entry, bytes, took.count());
      break;
    }
    case Step::Kind::wait:
      if (const std::size_t h = host_ranges_->during(i); h == HostRanges::kNone) {
        queue.finish();
      } else if (host_ranges_->map(h)) {
        bind_with(h);
      }
      break;
    case Step::Kind::release:
      if (const std::size_t h = host_ranges_->during(i); h != HostRanges::kNone) host_ranges_->unmap(h);
      break;
  }
}

void Executor::run_step(std::size_t step, std::size_t times) {
  MARU_ASSERT(step < steps_.size());
  const Step::Kind kind = plan_.steps[step].kind;
  const bool is_handing_over = kind == Step::Kind::wait || kind == Step::Kind::release;
  try {
    Queue& queue = *queues_[plan_.steps[step].device];
    queue.begin();
    for (std::size_t i = 0; i < (is_handing_over ? 1 : times); ++i) run_alone(step);
    queue.finish();
  } catch (...) {
    settle();
    throw;
  }
}

void Executor::run_row(Row& row) {
  if (check_) {
    for (std::size_t i = row.begin; i < row.end; ++i) watch(i);
  }
  if (!row.launch) combine(row);
  row.launch->run(*queues_[0]);
  for (std::size_t i = row.begin; i < row.end; ++i) {
    // How long a copy takes among others nobody can say.
    if (plan_.steps[i].kind == Step::Kind::copy)
      ledger_.count(steps_[i].ledger_entry, bytes_to_copy(plan_.steps[i]), 0);
  }
}

void Executor::combine(Row& row) const {
  std::vector<OrderedLaunch> launches;
  for (std::size_t i = row.begin; i < row.end; ++i) {
    OrderedLaunch& one = launches.emplace_back(OrderedLaunch{steps_[i].launch.get(), {}});
    for (const std::size_t before : plan_.steps[i].after) one.after.push_back(before - row.begin);
  }
  row.launch = devices_[0]->combine(launches);
}

void Executor::rebind_step(std::size_t step) {
  for (Row& row : rows_) {
    if (row.begin <= step && step < row.end) row.launch.reset();  // before what it launches goes
  }
  steps_[step].launch = bind(step);
  if (check_) steps_[step].addresses = addresses_of(step);
}

void Executor::bind_with(std::size_t hand_over) {
  for (std::size_t i = 0; i < steps_.size(); ++i) {
    const Step& step = plan_.steps[i];
    if (step.kernel && step.device != 0 && host_ranges_->during(i) == hand_over) rebind_step(i);
  }
}

}  // namespace maru
