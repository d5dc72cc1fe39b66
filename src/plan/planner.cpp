#include "plan/planner.h"

#include <algorithm>
#include <atomic>
#include <exception>
#include <limits>
#include <map>
#include <mutex>
#include <thread>

#include "base/error.h"
#include "plan/arena.h"
#include "plan/storage.h"

namespace maru {
namespace {

using planning::Block;
using planning::Instruction;
using planning::Program;
using planning::ProgramTensor;
using planning::Storages;
using planning::TensorIndex;

std::string_view to_string(MemoryPolicy policy) {
  switch (policy) {
    case MemoryPolicy::automatic:
      return "auto";
    case MemoryPolicy::copy:
      return "copy";
    case MemoryPolicy::zero_copy:
      return "zero-copy";
  }
  return "?";
}

struct Operands {
  std::vector<TensorDesc> src, dst;
  std::unique_ptr<bool[]> constant;
};

class Planner {
 public:
  Planner(const Graph& graph, const Device& device, const PlanOptions& options)
      : device_(device),
        options_(options),
        program_(planning::lower(graph, device, options.expected_runs)) {
    storages_ = planning::share_storage(program_, device);
    std::erase_if(program_.code,
                  [](const Instruction& i) { return i.kind == Instruction::Kind::view; });
    plan_.network = graph.name;
    plan_.device = device.name();
    plan_.policy = to_string(options.policy);
  }

  Planned run() {
    compile();
    make_regions();
    place_storages();
    place_constants();
    make_steps();
    return {std::move(plan_), std::move(constants_)};
  }

 private:
  TensorDesc operand_desc(TensorIndex t, Layout wanted) const {
    const TensorDesc& desc = program_.tensors[t].desc;
    if (program_.tensors[t].constant || wanted.kind == Layout::Kind::any) return desc;
    return desc.with(wanted.window_of(desc.layout.stored_channels));
  }

  Operands operands_of(const Instruction& instruction) const {
    Operands operands;
    operands.constant = std::make_unique<bool[]>(instruction.src.size());
    for (std::size_t i = 0; i < instruction.src.size(); ++i) {
      operands.src.push_back(operand_desc(instruction.src[i], instruction.offer.src[i]));
      operands.constant[i] = program_.tensors[instruction.src[i]].constant != nullptr;
    }
    for (std::size_t i = 0; i < instruction.dst.size(); ++i) {
      operands.dst.push_back(operand_desc(instruction.dst[i], instruction.offer.dst[i]));
    }
    return operands;
  }

  // Equal calls share a kernel; different ones are compiled in several threads at once.
  void compile() {
    struct Job {
      std::size_t instruction;
      std::shared_ptr<const Kernel> kernel;
    };
    std::map<std::string, std::size_t> job_of_key;
    std::vector<Job> jobs;
    std::vector<std::size_t> job_of;
    for (std::size_t i = 0; i < program_.code.size(); ++i) {
      operands_.push_back(operands_of(program_.code[i]));
      std::string key = program_.code[i].op.key() + program_.code[i].offer.kernel;
      for (const TensorDesc& desc : operands_[i].src) key += ";" + desc.str();
      for (const TensorDesc& desc : operands_[i].dst) key += ">" + desc.str();
      for (std::size_t k = 0; k < operands_[i].src.size(); ++k)
        key += operands_[i].constant[k] ? 'c' : 'v';
      const auto [at, is_new] = job_of_key.try_emplace(std::move(key), jobs.size());
      if (is_new) jobs.push_back({i, nullptr});
      job_of.push_back(at->second);
    }

    std::atomic<std::size_t> next{0};
    std::exception_ptr failure;
    std::mutex failure_mutex;
    const auto work = [&] {
      for (std::size_t j = next++; j < jobs.size(); j = next++) {
        const Instruction& instruction = program_.code[jobs[j].instruction];
        const Operands& operands = operands_[jobs[j].instruction];
        const std::size_t count = operands.src.size();
        try {
          jobs[j].kernel = device_.compile(
              {instruction.op, operands.src, operands.dst, {operands.constant.get(), count}},
              instruction.offer);
        } catch (...) {
          const std::lock_guard lock(failure_mutex);
          if (!failure) failure = std::current_exception();
        }
      }
    };
    std::vector<std::thread> helpers;
    for (int i = 1; i < options_.compile_threads; ++i) helpers.emplace_back(work);
    work();
    for (std::thread& helper : helpers) helper.join();
    if (failure) std::rethrow_exception(failure);
    for (const std::size_t job : job_of) kernels_.push_back(jobs[job].kernel);
  }

  const Heap& pick_heap(bool host_touches) const {
    for (const Heap* heap : device_.heaps()) {
      const MemoryTraits& traits = heap->traits();
      if (traits.device_visible && (!host_touches || traits.host_visible)) return *heap;
    }
    throw Error(device_.name(), "a heap that the device sees", "none", "`maru devices`");
  }

  void make_regions() {
    const Heap& inner = pick_heap(false);
    const Heap& outer = pick_heap(true);
    const std::string why =
        device_.heaps().size() == 1 ? "the one memory of this device" : "first that fits";
    plan_.regions.push_back({Region::Kind::weights, "weights", &inner, why});
    plan_.regions.push_back({Region::Kind::arena, "arena", &inner, why});
    region_of_.assign(storages_.storages.size(), Plan::kArena);
    const auto add_port = [&](TensorIndex t, Region::Kind kind, std::vector<Port>& ports) {
      const ProgramTensor& tensor = program_.tensors[t];
      region_of_[storages_.of[t].storage] = plan_.regions.size();
      ports.push_back({tensor.name, tensor.desc, plan_.regions.size()});
      const std::size_t bytes = std::max<std::size_t>(tensor.desc.bytes(), 1);
      plan_.regions.push_back({kind, tensor.name, &outer, why, bytes});
    };
    for (const TensorIndex t : program_.inputs) add_port(t, Region::Kind::input, plan_.inputs);
    for (const TensorIndex t : program_.outputs) add_port(t, Region::Kind::output, plan_.outputs);
  }

  void place_storages() {
    constexpr std::size_t kNever = std::numeric_limits<std::size_t>::max();
    std::vector<Block> blocks(storages_.storages.size());
    for (std::size_t s = 0; s < blocks.size(); ++s) blocks[s].first = kNever;
    for (std::size_t i = 0; i < program_.code.size(); ++i) {
      const auto touch = [&](TensorIndex t) {
        const std::size_t s = storages_.of[t].storage;
        if (program_.tensors[t].constant || region_of_[s] != Plan::kArena) return;
        blocks[s].bytes = storages_.storages[s].bytes();
        blocks[s].first = std::min(blocks[s].first, i);
        blocks[s].last = std::max(blocks[s].last, i);
      };
      std::ranges::for_each(program_.code[i].src, touch);
      std::ranges::for_each(program_.code[i].dst, touch);
    }
    std::vector<Block> used;
    std::vector<std::size_t> storage_of_used;
    for (std::size_t s = 0; s < blocks.size(); ++s) {
      if (blocks[s].first == kNever || blocks[s].bytes == 0) continue;
      used.push_back(blocks[s]);
      storage_of_used.push_back(s);
    }
    for (std::size_t i = 0; i < program_.code.size(); ++i) {
      if (kernels_[i]->workspace_bytes() == 0) continue;
      workspace_block_[i] = used.size();
      used.push_back({kernels_[i]->workspace_bytes(), i, i});
    }
    Region& arena = plan_.regions[Plan::kArena];
    arena.bytes = planning::place(used, arena.heap->traits().alignment);
    offset_of_.assign(storages_.storages.size(), 0);
    for (std::size_t k = 0; k < storage_of_used.size(); ++k)
      offset_of_[storage_of_used[k]] = used[k].offset;
    for (auto& [instruction, block] : workspace_block_) block = used[block].offset;
  }

  void place_constants() {
    Region& weights = plan_.regions[Plan::kWeights];
    const std::size_t alignment = weights.heap->traits().alignment;
    std::map<std::tuple<const Constant*, const Kernel*, std::size_t>, std::size_t> known;
    for (std::size_t i = 0; i < program_.code.size(); ++i) {
      for (std::size_t k = 0; k < program_.code[i].src.size(); ++k) {
        const ProgramTensor& tensor = program_.tensors[program_.code[i].src[k]];
        if (!tensor.constant) continue;
        const std::tuple key{tensor.constant.get(), kernels_[i].get(), k};
        const auto [at, is_new] = known.try_emplace(key, weights.bytes);
        constant_offset_[{i, k}] = at->second;
        if (!is_new) continue;
        const std::size_t bytes = kernels_[i]->packed_bytes(k, *tensor.constant);
        constants_.push_back({tensor.name, tensor.constant, kernels_[i], k, weights.bytes, bytes});
        weights.bytes += (bytes + alignment - 1) / alignment * alignment;
      }
    }
  }

  void make_steps() {
    const auto operand = [&](TensorIndex t, const TensorDesc& desc) {
      const planning::Location& at = storages_.of[t];
      return Operand{program_.tensors[t].name, desc, region_of_[at.storage],
                     offset_of_[at.storage] + at.offset};
    };
    for (std::size_t i = 0; i < program_.code.size(); ++i) {
      const Instruction& instruction = program_.code[i];
      const bool is_copy = instruction.kind == Instruction::Kind::copy;
      Step step{is_copy ? Step::Kind::copy : Step::Kind::kernel,
                instruction.name,
                is_copy ? "copy" : instruction.op.key(),
                instruction.why,
                kernels_[i],
                {},
                {}};
      for (std::size_t k = 0; k < instruction.src.size(); ++k) {
        const TensorIndex t = instruction.src[k];
        if (const auto& constant = program_.tensors[t].constant) {
          const Layout layout = kernels_[i]->packed_bytes(k, *constant) == constant->bytes().size()
                                    ? Layout::plain()
                                    : Layout::opaque();
          step.src.push_back({program_.tensors[t].name, constant->desc().with(layout), Plan::kWeights,
                              constant_offset_.at({i, k})});
        } else {
          step.src.push_back(operand(t, operands_[i].src[k]));
        }
      }
      for (std::size_t k = 0; k < instruction.dst.size(); ++k) {
        step.dst.push_back(operand(instruction.dst[k], operands_[i].dst[k]));
      }
      if (const auto at = workspace_block_.find(i); at != workspace_block_.end())
        step.workspace = at->second;
      plan_.steps.push_back(std::move(step));
    }
  }

  const Device& device_;
  const PlanOptions& options_;
  Program program_;
  Storages storages_;
  std::vector<Operands> operands_;                      // per instruction
  std::vector<std::shared_ptr<const Kernel>> kernels_;  // per instruction
  std::vector<std::size_t> region_of_, offset_of_;      // per storage
  std::map<std::size_t, std::size_t> workspace_block_;  // instruction -> block, then offset
  std::map<std::pair<std::size_t, std::size_t>, std::size_t> constant_offset_;  // instruction, operand
  Plan plan_;
  std::vector<PackedConstant> constants_;
};

}  // namespace

Planned make_plan(const Graph& graph, const Device& device, const PlanOptions& options) {
  return Planner(graph, device, options).run();
}

}  // namespace maru
