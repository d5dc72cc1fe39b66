#include "plan/cost.h"

#include <algorithm>
#include <nlohmann/json.hpp>

#include "base/error.h"
#include "base/text.h"
#include "ops/operator.h"
#include "plan/assign.h"

namespace maru {
namespace {

Op op_of(const Step& step) {
  const std::size_t space = step.op.find(' ');
  return parse_op(step.op.substr(0, space),
                  space == std::string::npos ? "" : step.op.substr(space + 1));
}

class Counting {
 public:
  Counting(const Plan& plan, std::span<const Device* const> devices, const MachineSpeed& speed)
      : plan_(plan), devices_(devices), speed_(speed) {}

  PlanCost run() {
    for (const Port& port : plan_.inputs) caller(port, false);
    for (const Port& port : plan_.outputs) caller(port, true);
    for (const Step& step : plan_.steps) {
      switch (step.kind) {
        case Step::Kind::kernel:
          kernel(step);
          break;
        case Step::Kind::copy:
          step.kernel ? kernel(step) : transfer(step);
          break;
        case Step::Kind::wait:
          cost_.waits += speed_.memory.wait_seconds;
          for (const auto* operands : {&step.src, &step.dst}) {
            for (const Operand& operand : *operands)
              cost_.maps += heap_speed(*heap_of(operand)).map_seconds;
          }
          break;
        case Step::Kind::release:
          break;
      }
    }
    return std::move(cost_);
  }

 private:
  static double seconds(double bytes, double rate) { return rate > 0 ? bytes / rate : 0; }
  static double bytes_of(const Operand& operand) {
    return static_cast<double>(operand.desc.count()) * static_cast<double>(size_of(operand.desc.dtype));
  }
  const Heap* heap_of(const Operand& operand) const { return plan_.regions[operand.region].heap; }

  // Memory of the CPU beside the device is that of the device's runtime which only the CPU sees.
  HeapSpeed heap_speed(const Heap& heap) const {
    const auto heaps = devices_[0]->heaps();
    for (std::size_t i = 0; i < heaps.size(); ++i) {
      if (heaps[i] == &heap) return speed_.memory.heaps.at(i);
    }
    for (std::size_t i = 0; i < heaps.size(); ++i) {
      if (!heaps[i]->traits().device_visible) return speed_.memory.heaps.at(i);
    }
    return {};
  }

  // Seconds for the CPU to read; what is not cached is counted apart.
  double host_reads(const Heap& heap, double bytes) {
    const double took = seconds(bytes, heap_speed(heap).host_read);
    if (heap.traits().host_cached) return took;
    cost_.uncached_reads += took;
    cost_.uncached_read_bytes += bytes;
    return 0;
  }

  void caller(const Port& port, bool reads) {
    const Heap& heap = *plan_.regions[port.region].heap;
    const auto bytes = static_cast<double>(port.desc.bytes());
    const HeapSpeed speed = heap_speed(heap);
    cost_.cpu += reads ? host_reads(heap, bytes) : seconds(bytes, speed.host_write);
    cost_.maps += speed.map_seconds;
  }

  void transfer(const Step& step) {
    const bool up = heap_of(step.dst[0])->traits().device_visible;
    const double bytes = bytes_of(step.src[0]);
    cost_.copies += speed_.memory.transfer_seconds +
                    seconds(bytes, up ? speed_.memory.upload : speed_.memory.download);
  }

  void kernel(const Step& step) {
    const bool on_host = devices_[step.device]->is_host() && step.device != 0;
    double flops = 0;
    planning::Reading reads;
    if (step.kind == Step::Kind::kernel) {
      flops = work_of(step).flops;
      if (!step.src.empty()) reads = planning::reading(op_of(step), step.src[0].desc);
    }
    double memory = 0;
    for (std::size_t i = 0; i < step.src.size(); ++i) {
      const Heap& heap = *heap_of(step.src[i]);
      const double bytes = bytes_of(step.src[i]);
      if (on_host) {
        memory += host_reads(heap, bytes);
      } else {
        const double again = heap.traits().device_cached ? 0 : reads.again * speed_.rereads;
        const double times = i == 0 ? reads.once + again : 1;
        memory += seconds(times * bytes, heap_speed(heap).device_read);
      }
    }
    for (const Operand& operand : step.dst) {
      const HeapSpeed speed = heap_speed(*heap_of(operand));
      memory += seconds(bytes_of(operand), on_host ? speed.host_write : speed.device_write);
    }
    const double rate = on_host ? speed_.host_flops : speed_.device_flops;
    const double compute = seconds(flops, rate);
    cost_.by_operator[step.kind == Step::Kind::copy ? "copy" : step.op.substr(0, step.op.find(' '))] +=
        std::max(compute, memory);
    if (on_host) {
      cost_.cpu += std::max(compute, memory);
      return;
    }
    cost_.compute += compute;
    cost_.memory += std::max(0.0, memory - compute);
    cost_.launches += speed_.memory.launch_seconds;
  }

  const Plan& plan_;
  std::span<const Device* const> devices_;
  const MachineSpeed& speed_;
  PlanCost cost_;
};

struct Term {
  const char* name;
  const char* what;
  double PlanCost::*seconds;
};
constexpr Term kTerms[] = {
    {"compute", "arithmetic of the device's kernels", &PlanCost::compute},
    {"memory", "their reads and writes beyond that", &PlanCost::memory},
    {"cpu", "the CPU's kernels, inputs and results", &PlanCost::cpu},
    {"uncached_reads", "the CPU reading uncached memory", &PlanCost::uncached_reads},
    {"copies", "between memories", &PlanCost::copies},
    {"waits", "for the device", &PlanCost::waits},
    {"maps", "showing memory to the CPU", &PlanCost::maps},
    {"launches", "of kernels", &PlanCost::launches}};

std::string ms(double seconds) { return fmt::format("{:.3f}", seconds * 1e3); }

nlohmann::json to_json(const PlanCost& cost) {
  nlohmann::json json{{"total_seconds", cost.total()},
                      {"uncached_read_bytes", cost.uncached_read_bytes},
                      {"operators", cost.by_operator}};
  for (const Term& term : kTerms) json["terms"][term.name] = cost.*term.seconds;
  return json;
}

}  // namespace

Cost work_of(const Step& step) {
  double bytes = 0;
  for (const auto* operands : {&step.src, &step.dst}) {
    for (const Operand& operand : *operands) bytes += static_cast<double>(operand.desc.bytes());
  }
  if (step.kind == Step::Kind::copy) return {0, bytes};
  if (step.kind != Step::Kind::kernel) return {};
  const auto plain = [](const std::vector<Operand>& operands) {
    std::vector<TensorDesc> descs;
    for (const Operand& operand : operands) descs.push_back(operand.desc.with(Layout::plain()));
    return descs;
  };
  return op_of(step).cost(plain(step.src), plain(step.dst));
}

PlanCost cost_of(const Plan& plan, std::span<const Device* const> devices, const MachineSpeed& speed) {
  return Counting(plan, devices, speed).run();
}

ModelledCost cost_of(const Plan& plan, std::span<const Device* const> devices,
                     const DeviceModel& model) {
  return {cost_of(plan, devices, model.expected), cost_of(plan, devices, model.best),
          cost_of(plan, devices, model.worst)};
}

std::string ModelledCost::text() const {
  std::string text =
      fmt::format("\nmodelled time of a run, not measured: {} ms, from {} to {} by what is not known\n",
                  ms(expected.total()), ms(best.total()), ms(worst.total()));
  const auto row = [&](std::string_view name, double middle, double low, double high,
                       std::string_view what) {
    text += fmt::format("  {:<16} {:>10} ms  {:>10} .. {:<10} {}\n", name, ms(middle), ms(low),
                        ms(high), what);
  };
  for (const Term& term : kTerms)
    row(term.name, expected.*term.seconds, best.*term.seconds, worst.*term.seconds, term.what);
  text += "modelled time of kernels, by operator\n";
  for (const auto& [name, seconds] : expected.by_operator)
    row(name, seconds, best.by_operator.at(name), worst.by_operator.at(name), "");
  return text;
}

std::string ModelledCost::json() const {
  return nlohmann::json{{"class", "modelled"},
                        {"expected", to_json(expected)},
                        {"best", to_json(best)},
                        {"worst", to_json(worst)}}
      .dump();
}

}  // namespace maru
