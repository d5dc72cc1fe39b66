#include "backends/cpu/cpu.h"

#include <omp.h>

#include <algorithm>
#include <fstream>
#include <thread>

#include "backends/cpu/onednn.h"
#include "base/error.h"

namespace maru {
namespace cpu {
namespace {

// Channels that fill a vector register, where oneDNN has kernels for such blocks.
int fastest_block() {
  const auto isa = static_cast<unsigned>(dnnl::get_effective_cpu_isa());
#if defined(__x86_64__)
  const auto includes = [&](dnnl::cpu_isa wanted) {
    const auto bits = static_cast<unsigned>(wanted);
    return (isa & bits) == bits;
  };
  if (includes(dnnl::cpu_isa::avx512_core)) return 16;
  if (includes(dnnl::cpu_isa::sse41)) return 8;
#else
  static_cast<void>(isa);
#endif
  return 1;
}

std::string model_name() {
  std::ifstream info("/proc/cpuinfo");
  for (std::string line; std::getline(info, line);) {
    if (line.starts_with("model name") || line.starts_with("Model")) {
      const std::size_t colon = line.find(": ");
      if (colon != std::string::npos) return line.substr(colon + 2);
    }
  }
  return "CPU";
}

class CpuDevice final : public Device {
 public:
  explicit CpuDevice(const DeviceOptions& options) : providers_(providers()) {
    const int cores = std::max(1, omp_get_num_procs());
    cpu_.threads = options.threads > 0 ? options.threads : cores;
    cpu_.block = fastest_block();
    cpu_.communicator = options.communicator;
  }

  std::string_view name() const override { return "cpu"; }

  std::string description() const override {
    const dnnl_version_t& version = *dnnl_version();
    return fmt::format("{}, {} thread{}, blocks of {} channels; oneDNN {}.{}.{}", model_name(),
                       cpu_.threads, cpu_.threads == 1 ? "" : "s", cpu_.block, version.major,
                       version.minor, version.patch);
  }

  bool is_host() const override { return true; }
  std::span<const Heap* const> heaps() const override { return heaps_; }
  std::unique_ptr<Queue> make_queue() const override {
    return std::make_unique<CpuQueue>(cpu_.threads);
  }

  int channel_block() const override { return cpu_.block; }

  std::vector<Offer> offers(const Call& call) const override {
    std::vector<Offer> found;
    for (const auto& provider : providers_) provider->offer(call, cpu_, found);
    return found;
  }

  std::unique_ptr<Kernel> compile(const Call& call, const Offer& offer) const override {
    // oneDNN fixes the number of threads when a primitive is made.
    const ThreadCount count(cpu_.threads);
    for (const auto& provider : providers_) {
      if (provider->name() != offer.kernel) continue;
      try {
        return provider->compile(call, cpu_);
      } catch (const dnnl::error& error) {
        throw Error(fmt::format("cpu {}", call.op.name()), "a kernel in oneDNN", error.what(),
                    "reporting this with the model");
      }
    }
    MARU_ASSERT(false && "offers come from providers");
    return nullptr;
  }

  double copy_seconds(double bytes) const override { return memory_seconds(2 * bytes); }

 private:
  Cpu cpu_;
  HostHeap heap_;
  const Heap* heaps_[1] = {&heap_};
  std::vector<std::unique_ptr<Provider>> providers_;
};

}  // namespace
}  // namespace cpu

std::vector<std::unique_ptr<Device>> cpu_devices(const DeviceOptions& options) {
  std::vector<std::unique_ptr<Device>> devices;
  devices.push_back(std::make_unique<cpu::CpuDevice>(options));
  return devices;
}

}  // namespace maru
