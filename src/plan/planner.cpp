#include "plan/planner.h"

#include <algorithm>
#include <atomic>
#include <exception>
#include <limits>
#include <map>
#include <mutex>
#include <system_error>
#include <thread>

#include "base/error.h"
#include "plan/arena.h"
#include "plan/check.h"
#include "plan/cost.h"
#include "plan/order.h"
#include "plan/placement.h"
#include "plan/storage.h"
#include "plan/waits.h"

namespace maru {
namespace {

using planning::Block;
using planning::Instruction;
using planning::Place;
using planning::Program;
using planning::ProgramTensor;
using planning::Storage;
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
  Planner(const Graph& graph, std::span<const Device* const> devices,
          std::span<const DeviceSpeed> speeds, const PlanOptions& options)
      : devices_(devices),
        options_(options),
        placement_(devices, speeds,
                   {options.policy, options.expected_runs, options.weights_in_file, &options.heaps}),
        program_(planning::lower(graph, placement_, {options.expected_runs, &options.choices})) {
    storages_ = planning::share_storage(program_, placement_);
    std::erase_if(program_.code,
                  [](const Instruction& i) { return i.kind == Instruction::Kind::view; });
    plan_.network = graph.name;
    plan_.policy = to_string(options.policy);
    plan_.precision = options.precision;
    plan_.combines = devices[0]->combines();
    MARU_ASSERT(!(plan_.combines && devices[0]->is_host()));
    for (const Device* device : devices) plan_.devices.emplace_back(device->name());
  }

  Planned run() {
    compile();
    make_regions();
    place_storages();
    place_constants();
    make_steps();
    record_flow();
    plan_.steps = planning::add_waits(plan_, devices_, std::move(plan_.steps));
    if (plan_.combines) planning::order_steps(plan_);
    return {std::move(plan_), std::move(constants_), std::move(program_.choices), std::move(flow_)};
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
    constexpr std::size_t kNone = std::numeric_limits<std::size_t>::max();
    for (std::size_t i = 0; i < program_.code.size(); ++i) {
      operands_.push_back(operands_of(program_.code[i]));
      if (program_.code[i].kind == Instruction::Kind::transfer) {
        job_of.push_back(kNone);
        continue;
      }
      std::string key = fmt::format("{} {} {}", program_.code[i].device, program_.code[i].op.key(),
                                    program_.code[i].offer.kernel);
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
          jobs[j].kernel = devices_[instruction.device]->compile(
              {instruction.op, operands.src, operands.dst, {operands.constant.get(), count}},
              instruction.offer);
        } catch (...) {
          const std::lock_guard lock(failure_mutex);
          if (!failure) failure = std::current_exception();
        }
      }
    };
    {
      std::vector<std::jthread> helpers;
      try {
        for (int i = 1; i < options_.compile_threads; ++i) helpers.emplace_back(work);
      } catch (const std::system_error&) {  // the system gives no more; fewer do the same
      }
      work();
    }
    if (failure) std::rethrow_exception(failure);
    for (const std::size_t job : job_of) kernels_.push_back(job == kNone ? nullptr : jobs[job].kernel);
  }

  std::size_t arena_on(const Heap* heap, const std::string& why) {
    for (std::size_t r = 0; r < plan_.regions.size(); ++r) {
      if (plan_.regions[r].kind == Region::Kind::arena && plan_.regions[r].heap == heap) return r;
    }
    plan_.regions.push_back({Region::Kind::arena, "arena", heap, why});
    return plan_.regions.size() - 1;
  }

  void make_regions() {
    double weight_bytes = 0;
    for (const Instruction& instruction : program_.code) {
      for (const TensorIndex t : instruction.src) {
        if (const auto& constant = program_.tensors[t].constant; constant && instruction.device == 0)
          weight_bytes += static_cast<double>(constant->desc().bytes());
      }
    }
    const Place weights = placement_.weights(weight_bytes), &local = placement_.local();
    plan_.regions.push_back({Region::Kind::weights, "weights", weights.heap, weights.why});
    plan_.regions.push_back({Region::Kind::arena, "arena", local.heap, local.why});
    region_of_.assign(storages_.storages.size(), Plan::kArena);
    const auto add_port = [&](TensorIndex t, Region::Kind kind, std::vector<Port>& ports) {
      const ProgramTensor& tensor = program_.tensors[t];
      const Storage& storage = storages_.storages[storages_.of[t].storage];
      region_of_[storages_.of[t].storage] = plan_.regions.size();
      ports.push_back({tensor.name, tensor.desc, plan_.regions.size()});
      const std::size_t bytes = std::max<std::size_t>(tensor.desc.bytes(), 1);
      plan_.regions.push_back({kind, tensor.name, storage.place.heap, storage.place.why, bytes});
    };
    for (const TensorIndex t : program_.inputs) add_port(t, Region::Kind::input, plan_.inputs);
    for (const TensorIndex t : program_.outputs) add_port(t, Region::Kind::output, plan_.outputs);
    for (const auto& state : program_.states) add_port(state.begin, Region::Kind::state, plan_.states);
    for (TensorIndex t = 0; t < program_.tensors.size(); ++t) {
      const ProgramTensor& tensor = program_.tensors[t];
      if (!tensor.mirrors) continue;
      const std::size_t of = region_of_[storages_.of[*tensor.mirrors].storage];
      const std::size_t s =
          storages_.of[t].storage;  // where results may lie, too, that both sides touch
      region_of_[s] = plan_.regions.size();
      plan_.regions.push_back({Region::Kind::mirror, tensor.name, storages_.storages[s].place.heap,
                               "the device's copy of an input", plan_.regions[of].bytes, of});
    }
    for (std::size_t s = 0; s < storages_.storages.size(); ++s) {
      const Place& place = storages_.storages[s].place;
      if (region_of_[s] == Plan::kArena && place.heap != local.heap && place.heap != nullptr)
        region_of_[s] = arena_on(place.heap, place.why);
    }
  }

  // What must follow what, were no bytes shared by storages: the order that placing must not tighten.
  planning::Order dataflow_order() const {
    std::vector<bool> is_kernel;
    for (std::size_t i = 0; i < program_.code.size(); ++i)
      is_kernel.push_back(kernels_[i] != nullptr && program_.code[i].device == 0);
    const std::vector<std::size_t> rows = rows_of(is_kernel);
    const auto footprint = [&](TensorIndex t, const TensorDesc& desc) {
      return planning::Footprint::of({"", desc, storages_.of[t].storage, storages_.of[t].offset});
    };
    std::vector<planning::Accesses> all;
    for (std::size_t i = 0; i < program_.code.size(); ++i) {
      const Instruction& instruction = program_.code[i];
      planning::Accesses& own = all.emplace_back();
      own.row = rows[i];
      for (std::size_t k = 0; k < instruction.src.size(); ++k) {
        if (program_.tensors[instruction.src[k]].constant) continue;
        own.reads.push_back(footprint(instruction.src[k], operands_[i].src[k]));
      }
      for (std::size_t k = 0; k < instruction.dst.size(); ++k)
        own.writes.push_back(footprint(instruction.dst[k], operands_[i].dst[k]));
    }
    return planning::Order(all);
  }

  // Arenas are placed one by one: bytes of different heaps have nothing to do with each other.
  void place_storages() {
    constexpr std::size_t kNever = std::numeric_limits<std::size_t>::max();
    std::vector<Block> blocks(storages_.storages.size());
    std::vector<std::vector<std::size_t>> touched_by(blocks.size());  // indices of instructions
    for (std::size_t s = 0; s < blocks.size(); ++s) blocks[s].first = kNever;
    const auto is_arena = [&](std::size_t region) {
      return plan_.regions[region].kind == Region::Kind::arena;
    };
    for (std::size_t i = 0; i < program_.code.size(); ++i) {
      const auto touch = [&](TensorIndex t) {
        const std::size_t s = storages_.of[t].storage;
        if (program_.tensors[t].constant || !is_arena(region_of_[s])) return;
        blocks[s].bytes = storages_.storages[s].bytes();
        blocks[s].first = std::min(blocks[s].first, i);
        blocks[s].last = std::max(blocks[s].last, i);
        if (touched_by[s].empty() || touched_by[s].back() != i) touched_by[s].push_back(i);
      };
      std::ranges::for_each(program_.code[i].src, touch);
      std::ranges::for_each(program_.code[i].dst, touch);
    }
    offset_of_.assign(storages_.storages.size(), 0);
    workspace_of_.assign(program_.code.size(), {Plan::kArena, 0});
    const auto workspace_bytes = [&](std::size_t i) {
      return kernels_[i] ? kernels_[i]->workspace_bytes() : 0;
    };
    for (std::size_t i = 0; i < program_.code.size(); ++i) {
      const bool on_host = placement_.side_of(program_.code[i].device) == planning::Side::host;
      if (on_host && workspace_bytes(i) > 0)
        workspace_of_[i].region = arena_on(placement_.host().heap, placement_.host().why);
    }
    const planning::Order order = plan_.combines ? dataflow_order() : planning::Order();
    for (std::size_t r = 0; r < plan_.regions.size(); ++r) {
      if (!is_arena(r)) continue;
      std::vector<Block> used;
      std::vector<std::vector<std::size_t>> touching;
      std::vector<std::size_t*> offsets;
      for (std::size_t s = 0; s < blocks.size(); ++s) {
        if (blocks[s].first == kNever || blocks[s].bytes == 0 || region_of_[s] != r) continue;
        used.push_back(blocks[s]);
        touching.push_back(touched_by[s]);
        offsets.push_back(&offset_of_[s]);
      }
      for (std::size_t i = 0; i < program_.code.size(); ++i) {
        if (workspace_bytes(i) == 0 || workspace_of_[i].region != r) continue;
        used.push_back({workspace_bytes(i), i, i});
        touching.push_back({i});
        offsets.push_back(&workspace_of_[i].offset);
      }
      // Of blocks that are needed at different steps, whether some of these should run at once.
      const auto may_meet = [&](std::size_t a, std::size_t b) {
        const bool a_is_first = used[a].last < used[b].first;
        const auto &earlier = touching[a_is_first ? a : b], &later = touching[a_is_first ? b : a];
        return !std::ranges::all_of(later, [&](std::size_t step) {
          return std::ranges::all_of(earlier, [&](std::size_t before) {
            return before + kFarApart <= step || order.precedes(before, step);
          });
        });
      };
      plan_.regions[r].bytes =
          planning::place(used, plan_.regions[r].heap->traits().alignment,
                          plan_.combines ? planning::Apart(may_meet) : planning::Apart());
      for (std::size_t k = 0; k < used.size(); ++k) *offsets[k] = used[k].offset;
    }
  }

  std::size_t weights_of(std::size_t device) {
    if (placement_.side_of(device) == planning::Side::device) return Plan::kWeights;
    const Heap* heap = placement_.host().heap;
    for (std::size_t r = 0; r < plan_.regions.size(); ++r) {
      if (r != Plan::kWeights && plan_.regions[r].kind == Region::Kind::weights) return r;
    }
    plan_.regions.push_back({Region::Kind::weights, "weights", heap, "only the CPU reads them"});
    return plan_.regions.size() - 1;
  }

  void place_constants() {
    std::map<std::tuple<const Constant*, const Kernel*, std::size_t>, std::size_t> known;
    for (std::size_t i = 0; i < program_.code.size(); ++i) {
      for (std::size_t k = 0; k < program_.code[i].src.size(); ++k) {
        const ProgramTensor& tensor = program_.tensors[program_.code[i].src[k]];
        if (!tensor.constant) continue;
        const std::size_t region = weights_of(program_.code[i].device);
        Region& weights = plan_.regions[region];

        const std::tuple key{tensor.constant.get(), kernels_[i].get(), k};
        const auto [at, is_new] = known.try_emplace(key, weights.bytes);
        constant_at_[{i, k}] = {region, at->second};
        if (!is_new) continue;
        const std::size_t bytes = kernels_[i]->packed_bytes(k, *tensor.constant);
        constants_.push_back(
            {tensor.name, tensor.constant, kernels_[i], k, region, weights.bytes, bytes});
        weights.bytes += (bytes + kWeightAlignment - 1) / kWeightAlignment * kWeightAlignment;
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
      const bool is_kernel = instruction.kind == Instruction::Kind::kernel;
      Step step{is_kernel ? Step::Kind::kernel : Step::Kind::copy,
                instruction.name,
                is_kernel ? instruction.op.key() : "copy",
                instruction.why,
                kernels_[i],
                {},
                {},
                instruction.device,
                workspace_of_[i].region,
                workspace_of_[i].offset};
      for (std::size_t k = 0; k < instruction.src.size(); ++k) {
        const TensorIndex t = instruction.src[k];
        if (const auto& constant = program_.tensors[t].constant) {
          const bool is_plain = kernels_[i]->packed_bytes(k, *constant) == constant->desc().bytes();
          const Layout layout = is_plain ? Layout::plain() : Layout::opaque();
          const At& at = constant_at_.at({i, k});
          step.src.push_back(
              {program_.tensors[t].name, constant->desc().with(layout), at.region, at.offset});
        } else {
          step.src.push_back(operand(t, operands_[i].src[k]));
        }
      }
      for (std::size_t k = 0; k < instruction.dst.size(); ++k) {
        step.dst.push_back(operand(instruction.dst[k], operands_[i].dst[k]));
      }
      plan_.steps.push_back(std::move(step));
    }
  }

  // Follows views back to the instructions that compute; knows nothing of offsets.
  void record_flow() {
    constexpr std::size_t kNone = std::numeric_limits<std::size_t>::max() - 1;
    std::vector<std::size_t> writer(program_.tensors.size(), kNone);
    for (const TensorIndex t : program_.inputs) writer[t] = Dataflow::kCaller;
    // What is copied to where a state is kept is read by the next run.
    std::map<TensorIndex, std::size_t> kept_by;
    for (const auto& state : program_.states) {
      writer[state.begin] = Dataflow::kCaller;
      kept_by[state.begin] = kNone;
    }
    for (std::size_t i = 0; i < program_.code.size(); ++i) {
      for (const TensorIndex t : program_.code[i].dst) {
        const auto kept = kept_by.find(t);
        (kept == kept_by.end() ? writer[t] : kept->second) = i;
      }
    }
    std::vector<Dataflow::Sources> known(program_.tensors.size());
    const auto sources = [&](const auto& self, TensorIndex t) -> const Dataflow::Sources& {
      Dataflow::Sources& all = known[t];
      if (!all.empty()) return all;
      if (writer[t] != kNone) {
        all = {writer[t]};
        return all;
      }
      for (const TensorIndex shown : storages_.shows[t]) {
        const Dataflow::Sources& more = self(self, shown);
        all.insert(all.end(), more.begin(), more.end());
      }
      std::ranges::sort(all);
      all.erase(std::unique(all.begin(), all.end()), all.end());
      return all;
    };
    for (const Instruction& instruction : program_.code) {
      Dataflow::Work work{instruction.name, {}, instruction.offer.in_place};
      for (const TensorIndex t : instruction.src) work.src.push_back(sources(sources, t));
      flow_.steps.push_back(std::move(work));
    }
    for (const TensorIndex t : program_.outputs) flow_.outputs.push_back(sources(sources, t));
    for (const auto& state : program_.states)
      flow_.states.push_back(kept_by[state.begin] == kNone ? sources(sources, state.end)
                                                           : Dataflow::Sources{kept_by[state.begin]});
  }

  static constexpr std::size_t kWeightAlignment =
      64;  // a cache line: packed files hold for every device
  struct At {
    std::size_t region, offset;
  };

  std::span<const Device* const> devices_;
  const PlanOptions& options_;
  planning::Placement placement_;
  Program program_;
  Storages storages_;
  std::vector<Operands> operands_;                                 // per instruction
  std::vector<std::shared_ptr<const Kernel>> kernels_;             // per instruction; null: a transfer
  std::vector<std::size_t> region_of_, offset_of_;                 // per storage
  std::vector<At> workspace_of_;                                   // per instruction
  std::map<std::pair<std::size_t, std::size_t>, At> constant_at_;  // instruction, operand
  Plan plan_;
  std::vector<PackedConstant> constants_;
  Dataflow flow_;
};

// Where the states are: memory that other plans use too, each made by itself.
std::vector<const Heap*> heaps_of_states(const Plan& plan) {
  std::vector<const Heap*> heaps;
  for (const Port& port : plan.states) heaps.push_back(plan.regions[port.region].heap);
  return heaps;
}

// Tensors are placed one by one, while waits and copies are shared: where the CPU computes in the
// middle, all tensors alike can be the better way, and then is taken; but states stay where they are.
Planned better_of_all(Planned plan, const Graph& graph, std::span<const Device* const> devices,
                      std::span<const DeviceSpeed> speeds, const PlanOptions& options) {
  const bool is_mixed = std::ranges::any_of(plan.plan.steps, [](const Step& step) {
    return step.kind == Step::Kind::kernel && step.device != 0;
  });
  const auto asks_for_heap = [](const auto& heap) { return heap.second != PlanOptions::kApart; };
  if (options.policy != MemoryPolicy::automatic || devices[0]->is_host() || !is_mixed ||
      std::ranges::any_of(options.heaps, asks_for_heap))
    return plan;
  const DeviceModel* model = devices[0]->model();
  const MachineSpeed speed = model != nullptr ? model->expected : MachineSpeed{speeds[0]};
  double least = cost_of(plan.plan, devices, speed).total();
  for (const MemoryPolicy policy : {MemoryPolicy::copy, MemoryPolicy::zero_copy}) {
    PlanOptions alike = options;
    alike.policy = policy;
    if (policy == MemoryPolicy::zero_copy) alike.heaps.clear();  // nothing may live twice
    std::optional<Planned> other;
    try {
      other = Planner(graph, devices, speeds, alike).run();
    } catch (const Error&) {
      continue;  // this device has no such memory
    }
    if (heaps_of_states(other->plan) != heaps_of_states(plan.plan)) continue;
    const PlanCost cost = cost_of(other->plan, devices, speed);
    if (cost.total() >= least || cost.uncached_read_bytes > 0) continue;
    least = cost.total();
    plan = *std::move(other);
    plan.plan.policy = to_string(options.policy);
    for (Region& region : plan.plan.regions)
      region.why += "; better by the model than tensor by tensor";
  }
  return plan;
}

}  // namespace

Planned make_plan(const Graph& graph, std::span<const Device* const> devices,
                  const PlanOptions& options) {
  std::vector<DeviceSpeed> speeds = options.speeds;
  if (speeds.empty()) {
    for (const Device* device : devices) {
      const DeviceModel* model = device->model();
      speeds.push_back(model != nullptr ? model->expected.memory : assumed_speed(*device));
    }
  }
  Planned planned =
      better_of_all(Planner(graph, devices, speeds, options).run(), graph, devices, speeds, options);
  if (options.check || is_checking_all()) check_plan(planned, devices);
  return planned;
}

Planned make_plan(const Graph& graph, const Device& device, const PlanOptions& options) {
  const Device* const devices[] = {&device};
  return make_plan(graph, devices, options);
}

}  // namespace maru
