#include "run/executor.h"

#include <algorithm>
#include <chrono>

#include "base/error.h"

namespace maru {

Executor::Executor(const Plan& plan, const Device& device, const Buffer& weights)
    : plan_(plan), weights_(weights), queue_(device.make_queue()), reshaped_(plan.regions.size()) {
  for (const Region& region : plan.regions) {
    const bool own = region.kind != Region::Kind::weights && region.bytes > 0;
    buffers_.push_back(own ? region.heap->allocate(region.bytes, region.name) : Buffer());
  }
  for (const Step& step : plan.steps) {
    Bound bound{bind(step)};
    if (step.kind == Step::Kind::copy) {
      bound.is_copy = true;
      bound.bytes = step.dst[0].desc.bytes();
      bound.ledger_entry = ledger_.open(step.name, step.src[0].name, step.why);
    }
    steps_.push_back(std::move(bound));
  }
}

std::unique_ptr<Launch> Executor::bind(const Step& step) const {
  const auto tensor = [&](const Operand& operand) {
    TensorDesc desc = operand.desc;
    if (const auto& shape = reshaped_[operand.region]) desc.shape = *shape;
    return Tensor{desc, &region(operand.region), operand.offset};
  };
  std::vector<Tensor> src, dst;
  std::ranges::transform(step.src, std::back_inserter(src), tensor);
  std::ranges::transform(step.dst, std::back_inserter(dst), tensor);
  Tensor workspace;
  if (const auto bytes = static_cast<std::int64_t>(step.kernel->workspace_bytes()); bytes > 0) {
    workspace = {{DType::u8, {bytes}, Layout::plain()}, &region(Plan::kArena), step.workspace};
  }
  return step.kernel->bind(src, dst, workspace);
}

void Executor::rebind(std::size_t region, Buffer buffer, Shape shape) {
  MARU_ASSERT(region != Plan::kWeights && region != Plan::kArena);
  MARU_ASSERT(buffer.bytes() >= plan_.regions[region].bytes);
  buffers_[region] = std::move(buffer);
  reshaped_[region] = shape;
  for (std::size_t i = 0; i < steps_.size(); ++i) {
    const auto touches = [&](const Operand& operand) { return operand.region == region; };
    const Step& step = plan_.steps[i];
    if (std::ranges::any_of(step.src, touches) || std::ranges::any_of(step.dst, touches)) {
      steps_[i].launch = bind(step);
    }
  }
}

void Executor::run() {
  using Clock = std::chrono::steady_clock;
  queue_->begin();
  for (Bound& step : steps_) {
    if (step.is_copy) {
      const auto start = Clock::now();
      step.launch->run(*queue_);
      const std::chrono::duration<double> took = Clock::now() - start;
      ledger_.count(step.ledger_entry, step.bytes, took.count());
    } else {
      step.launch->run(*queue_);
    }
  }
  queue_->finish();
}

Buffer pack_constants(const Planned& planned) {
  const Region& region = planned.plan.regions[Plan::kWeights];
  if (region.bytes == 0) return {};
  Buffer weights = region.heap->allocate(region.bytes, region.name);
  for (const PackedConstant& packed : planned.constants) {
    const HostView view = weights.map(Access::write, packed.offset, packed.bytes);
    packed.kernel->pack(packed.operand, *packed.constant, view.bytes());
    packed.constant->release_pages();  // weights are in memory once
  }
  return weights;
}

}  // namespace maru
