#include "measure/nvml.h"

#include <dlfcn.h>
#include <fmt/format.h>

namespace maru::measure {
namespace {

// NVML's own numbers: docs.nvidia.com/deploy/nvml-api. Every function returns 0 when it succeeds.
constexpr int kClockOfMultiprocessors = 1;
constexpr int kTemperatureOfChip = 0;
constexpr unsigned kPowerNow = 186;  // NVML_FI_DEV_POWER_INSTANT

constexpr unsigned long long kPowerCap = 0x4, kHardwareSlowdown = 0x8, kThermalByDriver = 0x20,
                             kThermalByHardware = 0x40, kPowerBrake = 0x80;

struct FieldValue {
  unsigned field = 0, scope = 0;
  long long timestamp = 0, latency = 0;
  int type = 0, status = 0;
  union {
    double real;
    unsigned integer;
    unsigned long long wide;
    long long signed_wide;
    int signed_integer;
    unsigned short narrow;
  } value{};
};

struct Memory {
  unsigned long long total = 0, free = 0, used = 0;
};

std::optional<double> number(const FieldValue& field) {
  switch (field.type) {
    case 0:
      return field.value.real;
    case 1:
      return field.value.integer;
    case 2:
      if (sizeof(long) == 4) return field.value.integer;
      [[fallthrough]];
    case 3:
      return static_cast<double>(field.value.wide);
    case 4:
      return static_cast<double>(field.value.signed_wide);
    case 5:
      return field.value.signed_integer;
    case 6:
      return field.value.narrow;
    default:
      return std::nullopt;
  }
}

}  // namespace

struct Nvml::State {
  void* library = nullptr;
  void* device = nullptr;
  bool started = false;

  ~State() {
    if (started)
      if (const auto shutdown = find<int (*)()>("nvmlShutdown")) shutdown();
    if (library != nullptr) ::dlclose(library);
  }
  template <class F>
  F find(const char* name) const {
    return reinterpret_cast<F>(::dlsym(library, name));
  }
  // What `name` says of the device through its last argument; nothing where there is no such function.
  template <class T, class... Arguments>
  std::optional<T> ask(const char* name, Arguments... arguments) const {
    const auto function = find<int (*)(void*, Arguments..., T*)>(name);
    T value{};
    if (function == nullptr || function(device, arguments..., &value) != 0) return std::nullopt;
    return value;
  }
};

Nvml::Nvml(std::unique_ptr<State> state) : state_(std::move(state)) {}
Nvml::~Nvml() = default;

std::unique_ptr<Nvml> Nvml::open(int gpu, const std::string& library, std::string& why,
                                 const std::string& cuda_name) {
  auto state = std::make_unique<State>();
  state->library = ::dlopen(library.c_str(), RTLD_NOW | RTLD_LOCAL);
  if (state->library == nullptr) {
    why = ::dlerror();
    return nullptr;
  }
  const auto init = state->find<int (*)()>("nvmlInit_v2");
  const auto by_index = state->find<int (*)(unsigned, void**)>("nvmlDeviceGetHandleByIndex_v2");
  if (init == nullptr || by_index == nullptr) {
    why = fmt::format("{} without nvmlInit_v2 or nvmlDeviceGetHandleByIndex_v2", library);
    return nullptr;
  }
  if (const int status = init(); status != 0) {
    why = fmt::format("status {} of nvmlInit_v2 (9: the driver is not loaded)", status);
    return nullptr;
  }
  state->started = true;
  if (const int status = by_index(static_cast<unsigned>(gpu), &state->device); status != 0) {
    why = fmt::format("no GPU {} (status {} of NVML)", gpu, status);
    return nullptr;
  }
  std::unique_ptr<Nvml> opened(new Nvml(std::move(state)));
  const std::string name = opened->name();
  const bool is_it = cuda_name == name || cuda_name.starts_with(name + " MIG");  // a slice of it
  if (!cuda_name.empty() && !name.empty() && !is_it) {
    why = fmt::format(
        "GPU {} is {} for NVML and {} for CUDA; CUDA_DEVICE_ORDER=PCI_BUS_ID makes both count alike",
        gpu, name, cuda_name);
    return nullptr;
  }
  return opened;
}

std::string Nvml::name() const {
  char text[96] = "";
  const auto get = state_->find<int (*)(void*, char*, unsigned)>("nvmlDeviceGetName");
  if (get == nullptr || get(state_->device, text, sizeof text) != 0) return {};
  return text;
}

std::string Nvml::driver() const {
  char text[80] = "";
  const auto get = state_->find<int (*)(char*, unsigned)>("nvmlSystemGetDriverVersion");
  if (get == nullptr || get(text, sizeof text) != 0) return {};
  return text;
}

std::optional<double> Nvml::joules() const {
  const auto millijoules = state_->ask<unsigned long long>("nvmlDeviceGetTotalEnergyConsumption");
  if (!millijoules) return std::nullopt;
  return static_cast<double>(*millijoules) * 1e-3;
}

std::optional<double> Nvml::watts() const {
  const auto fields = state_->find<int (*)(void*, int, FieldValue*)>("nvmlDeviceGetFieldValues");
  FieldValue now;
  now.field = kPowerNow;
  if (fields != nullptr && fields(state_->device, 1, &now) == 0 && now.status == 0)
    if (const auto milliwatts = number(now)) return *milliwatts * 1e-3;
  const auto milliwatts = state_->ask<unsigned>("nvmlDeviceGetPowerUsage");
  if (!milliwatts) return std::nullopt;
  return *milliwatts * 1e-3;
}

std::optional<std::uint64_t> Nvml::used_bytes() const {
  const auto memory = state_->ask<Memory>("nvmlDeviceGetMemoryInfo");
  if (!memory) return std::nullopt;
  return memory->used;
}

std::optional<double> Nvml::clock_hz() const {
  const auto megahertz = state_->ask<unsigned>("nvmlDeviceGetClockInfo", kClockOfMultiprocessors);
  if (!megahertz) return std::nullopt;
  return *megahertz * 1e6;
}

std::optional<double> Nvml::celsius() const {
  const auto degrees = state_->ask<unsigned>("nvmlDeviceGetTemperature", kTemperatureOfChip);
  if (!degrees) return std::nullopt;
  return *degrees;
}

std::optional<unsigned long long> Nvml::clock_reasons() const {
  const auto bits = state_->ask<unsigned long long>("nvmlDeviceGetCurrentClocksEventReasons");
  return bits ? bits : state_->ask<unsigned long long>("nvmlDeviceGetCurrentClocksThrottleReasons");
}

bool Nvml::tells_throttling() const { return clock_reasons().has_value(); }

std::vector<std::string> Nvml::throttled_by() const {
  const auto bits = clock_reasons();
  std::vector<std::string> reasons;
  if (!bits) return reasons;
  // Idling and clocks that somebody has set (0x1, 0x2, 0x10, 0x100) are no throttling.
  if ((*bits & (kThermalByDriver | kThermalByHardware)) != 0) reasons.emplace_back("thermal");
  if ((*bits & (kPowerCap | kPowerBrake)) != 0) reasons.emplace_back("power");
  // Set together with the hardware's thermal or power brake, which say more.
  if ((*bits & kHardwareSlowdown) != 0 && (*bits & (kThermalByHardware | kPowerBrake)) == 0)
    reasons.emplace_back("hardware");
  return reasons;
}

}  // namespace maru::measure
