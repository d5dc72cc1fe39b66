#include "backends/opencl/tuning.h"

#include <algorithm>
#include <chrono>
#include <limits>
#include <memory>

#include "backends/opencl/sources.h"
#include "device/fastest.h"

namespace maru::opencl {
namespace {

using Clock = std::chrono::steady_clock;

// A run that takes long is not repeated often; the best of several counts, since what else the machine
// does only ever adds.
constexpr double kSecondsForOne = 0.01;
constexpr int kLeastRuns = 4, kMostRuns = 30;

class Scratch {
 public:
  Scratch(const Runtime& runtime, const Trials& trials)
      : runtime_(runtime), queue_(runtime.make_queue()) {
    for (const std::size_t bytes : trials.src) src_.push_back(room(bytes));
    for (const std::size_t bytes : trials.dst) dst_.push_back(room(bytes));
    workspace_ = room(trials.workspace);
  }

  // Seconds of one run.
  double measure(const std::vector<Stage>& stages) const {
    std::vector<KernelHandle> kernels;
    for (const Stage& stage : stages) kernels.push_back(ready(stage));
    double best = std::numeric_limits<double>::infinity(), sum = 0;
    for (int run = 0; run <= kMostRuns && (run <= kLeastRuns || sum < kSecondsForOne); ++run) {
      const auto start = Clock::now();
      for (std::size_t i = 0; i < stages.size(); ++i) {
        check(
            clEnqueueNDRangeKernel(queue_.get(), kernels[i].get(), 3, nullptr, stages[i].global.data(),
                                   stages[i].local.data(), 0, nullptr, nullptr),
            "clEnqueueNDRangeKernel");
      }
      check(clFinish(queue_.get()), "clFinish");
      if (run == 0) continue;  // drivers compile until then
      const double seconds = std::chrono::duration<double>(Clock::now() - start).count();
      best = std::min(best, seconds);
      sum += seconds;
    }
    return best;
  }

 private:
  // Zeros: numbers near nothing would be slow, on some devices.
  MemoryHandle room(std::size_t bytes) const {
    constexpr std::size_t kLeast = 64;
    bytes = (std::max(bytes, kLeast) + sizeof(float) - 1) / sizeof(float) * sizeof(float);
    cl_int code = CL_SUCCESS;
    MemoryHandle memory(clCreateBuffer(runtime_.context(), CL_MEM_READ_WRITE, bytes, nullptr, &code));
    check(code, "clCreateBuffer");
    const float zero = 0;
    check(clEnqueueFillBuffer(queue_.get(), memory.get(), &zero, sizeof zero, 0, bytes, 0, nullptr,
                              nullptr),
          "clEnqueueFillBuffer");
    return memory;
  }

  KernelHandle ready(const Stage& stage) const {
    cl_int code = CL_SUCCESS;
    KernelHandle kernel(clCreateKernel(stage.program, stage.function.c_str(), &code));
    check(code, "clCreateKernel");
    cl_uint next = 0;
    const auto set = [&](const auto& value) {
      constexpr std::size_t kBytes = sizeof(value);  // NOLINT(bugprone-sizeof-expression): a handle
      check(clSetKernelArg(kernel.get(), next++, kBytes, &value), "clSetKernelArg");
    };
    for (const Argument& argument : stage.arguments) {
      if (const auto* operand = std::get_if<Operand>(&argument)) {
        const bool is_workspace = operand->kind == Operand::Kind::workspace;
        const MemoryHandle& memory = is_workspace                          ? workspace_
                                     : operand->kind == Operand::Kind::src ? src_[operand->index]
                                                                           : dst_[operand->index];
        set(memory.get());
        set(cl_ulong{is_workspace ? operand->index / operand->element : 0});
      } else if (const auto* local = std::get_if<LocalMemory>(&argument)) {
        check(clSetKernelArg(kernel.get(), next++, local->bytes, nullptr), "clSetKernelArg");
      } else {
        std::visit(
            [&](const auto& value) {
              if constexpr (std::is_arithmetic_v<std::decay_t<decltype(value)>>) set(value);
            },
            argument);
      }
    }
    return kernel;
  }

  const Runtime& runtime_;
  QueueHandle queue_;
  std::vector<MemoryHandle> src_, dst_;
  MemoryHandle workspace_;
};

std::string key_of(const Runtime& runtime, const Trials& trials) {
  std::string key = fmt::format("{}\n{}\n", runtime.description(), trials.call);
  for (const Source& source : all_sources()) key += source.text;
  return key;
}

}  // namespace

std::size_t fastest(const Runtime& runtime, const Trials& trials,
                    const std::function<std::vector<Stage>(std::size_t)>& stages) {
  const Contest contest{"opencl-tuning", key_of(runtime, trials), trials.names};
  return fastest_of(contest, runtime.measuring, [&]() -> TakeTime {
    const auto scratch = std::make_shared<const Scratch>(runtime, trials);
    return [&stages, scratch](std::size_t i, double) { return scratch->measure(stages(i)); };
  });
}

}  // namespace maru::opencl
