#include "backends/cuda/cuda.h"

#include "backends/cuda/devices.h"
#include "backends/cuda/heaps.h"
#include "backends/cuda/launch.h"
#include "backends/cuda/provider.h"
#include "backends/cuda/ranks.h"
#include "base/error.h"

namespace maru {
namespace cuda {
namespace {

constexpr int kTf32Capability = 80;

class CudaDevice final : public Device {
 public:
  CudaDevice(std::string name, std::unique_ptr<Runtime> runtime,
             std::vector<std::unique_ptr<Heap>> heaps)
      : name_(std::move(name)),
        runtime_(std::move(runtime)),
        owned_heaps_(std::move(heaps)),
        providers_(providers()),
        flags_(sees_flags_sooner(*runtime_)) {
    for (const auto& heap : owned_heaps_) heaps_.push_back(heap.get());
  }

  std::string_view name() const override { return name_; }
  std::string description() const override { return runtime_->description(); }
  std::span<const Heap* const> heaps() const override { return heaps_; }
  std::unique_ptr<Queue> make_queue() const override { return std::make_unique<CudaQueue>(*runtime_); }

  // Channels of f16 that one thread loads at once.
  int channel_block() const override { return 8; }

  std::vector<Offer> offers(const Call& call) const override {
    std::vector<Offer> found;
    for (const auto& provider : providers_) provider->offer(call, *runtime_, found);
    return found;
  }

  std::unique_ptr<Kernel> compile(const Call& call, const Offer& offer) const override {
    for (const auto& provider : providers_) {
      const std::string name = provider->name();
      if (offer.kernel == name || offer.kernel.starts_with(name + " "))
        return provider->compile(call, offer, *runtime_);
    }
    MARU_ASSERT(false && "offers come from providers");
    return nullptr;
  }

  double copy_seconds(double bytes) const override { return memory_seconds(*runtime_, 2 * bytes); }

  void transfer(Queue& queue, const Buffer& src, std::size_t src_offset, const Buffer& dst,
                std::size_t dst_offset, std::size_t bytes) const override {
    cuda::transfer(static_cast<CudaQueue&>(queue), src, src_offset, dst, dst_offset, bytes);
  }

  bool computes(Precision precision) const override {
    return precision != Precision::tf32 || runtime_->code_capability() >= kTf32Capability;
  }
  bool combines() const override { return true; }
  std::unique_ptr<Launch> combine(std::span<const OrderedLaunch> launches) const override {
    return cuda::combine(*runtime_, launches, flags_);
  }

 private:
  std::string name_;
  std::unique_ptr<Runtime> runtime_;
  std::vector<std::unique_ptr<Heap>> owned_heaps_;
  std::vector<const Heap*> heaps_;
  std::vector<std::unique_ptr<Provider>> providers_;
  bool flags_;  // whether words of combined launches show their end
};

std::unique_ptr<Device> make_device(std::string name, const std::shared_ptr<const Module>& module,
                                    int ordinal, const DeviceOptions& options) {
  auto runtime = std::make_unique<Runtime>(module, ordinal);
  runtime->tune = options.tune;
  if (options.communicator)
    runtime->ranks = std::make_unique<CudaRanks>(*runtime, options.communicator);
  runtime->tf32 = options.precision == Precision::tf32;
  auto heaps = working_heaps(*runtime);
  if (heaps.empty()) {
    throw Error(name, "memory that comes back as it was written", runtime->description(),
                "`nvidia-smi` or dmesg, for what the driver says");
  }
  return std::make_unique<CudaDevice>(std::move(name), std::move(runtime), std::move(heaps));
}

// 0 where there is nothing of CUDA to be found. Throws Error where there is, and it does not work.
int count_devices(const Module& module) {
  const maru_cuda_api& api = module.api();
  int driver = 0, runtime = 0, count = 0;
  if (api.versions(&driver, &runtime) != 0 || driver == 0) return 0;
  const int code = api.device_count(&count);
  if (code == 0 || code == api.no_device) return count;
  throw Error("cuda",
              fmt::format("a driver for CUDA {}, and a GPU that answers", version_text(runtime)),
              fmt::format("{}: {}, with a driver for CUDA {}", api.error_name(code),
                          api.error_text(code), version_text(driver)),
              "`nvidia-smi`, for what it says of driver and GPU");
}

void report(const DeviceOptions& options, const Error& why, bool is_broken) {
  if (options.report) options.report({why, is_broken});
}

}  // namespace

std::vector<std::unique_ptr<Device>> devices_of(const std::shared_ptr<const Module>& module,
                                                const DeviceOptions& options) {
  std::vector<std::unique_ptr<Device>> devices;
  int count = 0;
  try {
    count = count_devices(*module);
    if (count == 0) report(options, Error("cuda", "an NVIDIA GPU and its driver", "none"), false);
  } catch (const Error& error) {
    report(options, error, true);
  }
  for (int ordinal = 0; ordinal < count; ++ordinal) {
    const std::string name = ordinal == 0 ? "cuda" : fmt::format("cuda:{}", ordinal);
    if (!may_be_wanted(name, options)) continue;
    try {
      devices.push_back(make_device(name, module, ordinal, options));
      if (is_the_one(*devices.back(), options)) break;
    } catch (const Error& error) {
      report(options, error, true);  // others may work
    }
  }
  return devices;
}

}  // namespace cuda

std::vector<std::unique_ptr<Device>> cuda_devices(const DeviceOptions& options) {
  try {
    return cuda::devices_of(cuda::Module::open(), options);
  } catch (const Error& error) {  // no module
    cuda::report(options, error, false);
    return {};
  }
}

}  // namespace maru
