// What NVIDIA's management library tells of the first GPU: energy, memory, clock. Opened when the
// benchmark runs; what it does not tell is nothing, never 0.
#pragma once

#include <dlfcn.h>

#include <cstdint>
#include <optional>

namespace maru::bench {

class Nvml {
 public:
  Nvml() {
    library_ = ::dlopen("libnvidia-ml.so.1", RTLD_NOW);
    if (library_ == nullptr) return;
    const auto init = find<int (*)()>("nvmlInit_v2");
    const auto by_index = find<int (*)(unsigned, void**)>("nvmlDeviceGetHandleByIndex_v2");
    if (init == nullptr || by_index == nullptr || init() != 0 || by_index(0, &device_) != 0)
      device_ = nullptr;
  }

  // Joules of the whole board since the driver was loaded: a counter of the GPU in steps of 1 mJ, which
  // it brings up to date some ten times a second.
  std::optional<double> joules() const {
    const auto get = find<int (*)(void*, unsigned long long*)>("nvmlDeviceGetTotalEnergyConsumption");
    unsigned long long millijoules = 0;
    if (device_ == nullptr || get == nullptr || get(device_, &millijoules) != 0) return std::nullopt;
    return static_cast<double>(millijoules) * 1e-3;
  }

  // Bytes of the card in use, by whomever.
  std::optional<std::uint64_t> used_bytes() const {
    struct Memory {
      unsigned long long total, free, used;
    } memory{};
    const auto get = find<int (*)(void*, Memory*)>("nvmlDeviceGetMemoryInfo");
    if (device_ == nullptr || get == nullptr || get(device_, &memory) != 0) return std::nullopt;
    return memory.used;
  }

  // MHz of the multiprocessors now.
  std::optional<unsigned> clock_mhz() const {
    constexpr int kSm = 1;
    const auto get = find<int (*)(void*, int, unsigned*)>("nvmlDeviceGetClockInfo");
    unsigned mhz = 0;
    if (device_ == nullptr || get == nullptr || get(device_, kSm, &mhz) != 0) return std::nullopt;
    return mhz;
  }

 private:
  template <class F>
  F find(const char* name) const {
    return library_ == nullptr ? nullptr : reinterpret_cast<F>(::dlsym(library_, name));
  }

  void* library_ = nullptr;
  void* device_ = nullptr;
};

}  // namespace maru::bench
