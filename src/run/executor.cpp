#include "run/executor.h"

#include <algorithm>
#include <chrono>
#include <limits>

#include "base/error.h"

namespace maru {

Executor::Executor(const Plan& plan, std::span<const Device* const> devices, const Weights& weights)
    : plan_(plan),
      devices_(devices),
      own_(plan.regions.size()),
      buffers_(plan.regions.size()),
      reshaped_(plan.regions.size()),
      used_(plan.regions.size(), std::numeric_limits<std::size_t>::max()) {
  for (const Device* device : devices) queues_.push_back(device->make_queue());
  std::size_t next_weights = 0;
  for (std::size_t r = 0; r < plan.regions.size(); ++r) {
    const Region& region = plan.regions[r];
    if (region.kind == Region::Kind::weights) {
      buffers_[r] = &weights.buffers.at(next_weights++);
    } else {
      set_buffer(r, region.bytes > 0 ? region.heap->allocate(region.bytes, region.name) : Buffer());
    }
  }
  host_ranges_ = std::make_unique<HostRanges>(plan, buffers_, *queues_[0]);
  for (std::size_t i = 0; i < plan.steps.size(); ++i) {
    const Step& step = plan.steps[i];
    Bound bound{step.kernel ? bind(i) : nullptr};
    if (step.kind == Step::Kind::copy) {
      const auto heap = [&](const Operand& operand) {
        return plan.regions[operand.region].heap->name();
      };
      bound.ledger_entry = ledger_.open({step.name, step.src[0].name, step.why, heap(step.src[0]),
                                         heap(step.dst[0]), step.crosses()});
    }
    steps_.push_back(std::move(bound));
  }
}

void Executor::set_buffer(std::size_t region, Buffer buffer) {
  if (host_ranges_) host_ranges_->drop(region);
  own_[region] = std::move(buffer);
  buffers_[region] = &own_[region];
}

std::unique_ptr<Launch> Executor::bind(std::size_t index) const {
  const Step& step = plan_.steps[index];
  // The CPU beside another device sees that one's memory through the ranges that are mapped for it.
  const bool is_guest = step.device != 0 && devices_[step.device]->is_host();
  const auto tensor = [&](const Operand& operand) {
    TensorDesc desc = operand.desc;
    if (const auto& shape = reshaped_[operand.region]) desc.shape = *shape;
    const Buffer* buffer = buffers_[operand.region];
    const auto own_heaps = devices_[step.device]->heaps();
    const bool is_own = std::ranges::find(own_heaps, &buffer->heap()) != own_heaps.end();
    if (!is_guest || is_own) return Tensor{desc, buffer, operand.offset};
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
  const std::size_t bytes = buffer.bytes();
  std::vector<std::size_t> changed{region};
  for (std::size_t r = 0; r < plan_.regions.size(); ++r) {
    if (plan_.regions[r].mirrors != region) continue;
    if (own_[r].bytes() < bytes)
      set_buffer(r, plan_.regions[r].heap->allocate(bytes, plan_.regions[r].name));
    changed.push_back(r);
  }
  set_buffer(region, std::move(buffer));
  for (const std::size_t r : changed) {
    reshaped_[r] = shape;
    host_ranges_->remap(r);
  }
  for (std::size_t i = 0; i < steps_.size(); ++i) {
    const auto touches = [&](const Operand& operand) {
      return std::ranges::find(changed, operand.region) != changed.end();
    };
    const Step& step = plan_.steps[i];
    if (step.kernel &&
        (std::ranges::any_of(step.src, touches) || std::ranges::any_of(step.dst, touches))) {
      steps_[i].launch = bind(i);
    }
  }
}

std::size_t Executor::bytes_to_copy(const Step& step) const {
  const Operand& src = step.src[0];
  TensorDesc desc = src.desc;
  if (const auto& shape = reshaped_[src.region]) desc.shape = *shape;
  return std::min(desc.bytes(), used_[src.region]);
}

void Executor::run() {
  using Clock = std::chrono::steady_clock;
  for (const auto& queue : queues_) queue->begin();
  for (std::size_t i = 0; i < steps_.size(); ++i) {
    const Step& step = plan_.steps[i];
    Queue& queue = *queues_[step.device];
    switch (step.kind) {
      case Step::Kind::kernel:
        steps_[i].launch->run(queue);
        break;
      case Step::Kind::copy: {
        const auto start = Clock::now();
        const std::size_t bytes = bytes_to_copy(step);
        if (step.kernel) {
          steps_[i].launch->run(queue);
        } else {
          devices_[0]->transfer(queue, *buffers_[step.src[0].region], step.src[0].offset,
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
        if (const std::size_t h = host_ranges_->during(i); h != HostRanges::kNone)
          host_ranges_->unmap(h);
        break;
    }
  }
  // A plan for another device than the CPU ends with a wait for it.
  for (std::size_t d = 0; d < devices_.size(); ++d) {
    if (devices_[d]->is_host()) queues_[d]->finish();
  }
}

void Executor::bind_with(std::size_t hand_over) {
  for (std::size_t i = 0; i < steps_.size(); ++i) {
    const Step& step = plan_.steps[i];
    if (step.kernel && step.device != 0 && host_ranges_->during(i) == hand_over)
      steps_[i].launch = bind(i);
  }
}

}  // namespace maru
