#include "backends/opencl/opencl.h"

#include <algorithm>

#include "backends/opencl/heaps.h"
#include "backends/opencl/provider.h"
#include "device/worker.h"

namespace maru {
namespace opencl {
namespace {

class OpenclDevice final : public Device, public TellsWorker {
 public:
  OpenclDevice(std::string name, std::unique_ptr<Runtime> runtime,
               std::vector<std::unique_ptr<OpenclHeap>> heaps)
      : name_(std::move(name)),
        runtime_(std::move(runtime)),
        owned_heaps_(std::move(heaps)),
        providers_(providers()) {
    for (const auto& heap : owned_heaps_) heaps_.push_back(heap.get());
  }

  std::string_view name() const override { return name_; }
  std::string description() const override { return runtime_->description(); }
  std::span<const Heap* const> heaps() const override { return heaps_; }
  std::unique_ptr<Queue> make_queue() const override {
    return std::make_unique<OpenclQueue>(*runtime_);
  }
  Worker worker() const override {
    if (runtime_->is_cpu) return Worker::host;
    return runtime_->has_unified_memory ? Worker::integrated_gpu : Worker::card;
  }
  int channel_block() const override { return runtime_->block; }
  bool computes(Precision precision) const override {
    return precision == Precision::fp32 || (precision == Precision::fp16 && runtime_->has_halves());
  }

  std::vector<Offer> offers(const Call& call) const override {
    std::vector<Offer> found;
    for (const auto& provider : providers_) provider->offer(call, *runtime_, found);
    return found;
  }

  std::unique_ptr<Kernel> compile(const Call& call, const Offer& offer) const override {
    for (const auto& provider : providers_) {
      if (provider->name() == offer.kernel) return provider->compile(call, *runtime_);
    }
    MARU_ASSERT(false && "offers come from providers");
    return nullptr;
  }

  double copy_seconds(double bytes) const override { return memory_seconds(2 * bytes); }

  void transfer(Queue& queue, const Buffer& src, std::size_t src_offset, const Buffer& dst,
                std::size_t dst_offset, std::size_t bytes) const override {
    opencl::transfer(static_cast<OpenclQueue&>(queue).get(), src, src_offset, dst, dst_offset, bytes);
  }

 private:
  std::string name_;
  std::unique_ptr<Runtime> runtime_;
  std::vector<std::unique_ptr<OpenclHeap>> owned_heaps_;
  std::vector<const Heap*> heaps_;
  std::vector<std::unique_ptr<Provider>> providers_;
};

struct Found {
  cl_platform_id platform;
  cl_device_id device;
  int rank;
};

// Whether the kernels can run there: OpenCL 1.2 with 64-bit integers and rounding to nearest, which the
// embedded profile may lack, and groups as large as theirs.
bool is_usable(cl_device_id device) {
  const std::string version = device_text(device, CL_DEVICE_VERSION);
  return device_info<cl_bool>(device, CL_DEVICE_AVAILABLE) != 0 &&
         device_info<cl_bool>(device, CL_DEVICE_COMPILER_AVAILABLE) != 0 &&
         device_text(device, CL_DEVICE_PROFILE) == "FULL_PROFILE" && version.starts_with("OpenCL ") &&
         version.compare(7, 3, "1.2") >= 0 &&
         device_info<std::size_t>(device, CL_DEVICE_MAX_WORK_GROUP_SIZE) >= kGroup;
}

// GPUs, then accelerators, then processors; otherwise in the order of the drivers.
std::vector<Found> find_devices() {
  std::vector<Found> found;
  cl_uint platform_count = 0;
  if (clGetPlatformIDs(0, nullptr, &platform_count) != CL_SUCCESS) return found;
  std::vector<cl_platform_id> platforms(platform_count);
  if (clGetPlatformIDs(platform_count, platforms.data(), nullptr) != CL_SUCCESS) return found;
  for (const cl_platform_id platform : platforms) {
    cl_uint count = 0;
    if (clGetDeviceIDs(platform, CL_DEVICE_TYPE_ALL, 0, nullptr, &count) != CL_SUCCESS) continue;
    std::vector<cl_device_id> devices(count);
    if (clGetDeviceIDs(platform, CL_DEVICE_TYPE_ALL, count, devices.data(), nullptr) != CL_SUCCESS) {
      continue;
    }
    for (const cl_device_id device : devices) {
      if (!is_usable(device)) continue;
      const auto type = device_info<cl_device_type>(device, CL_DEVICE_TYPE);
      const int rank = (type & CL_DEVICE_TYPE_GPU) != 0 ? 0 : (type & CL_DEVICE_TYPE_CPU) != 0 ? 2 : 1;
      found.push_back({platform, device, rank});
    }
  }
  std::ranges::stable_sort(found, {}, &Found::rank);
  return found;
}

}  // namespace
}  // namespace opencl

std::vector<std::unique_ptr<Device>> opencl_devices(const DeviceOptions& options) {
  std::vector<std::unique_ptr<Device>> devices;
  for (const opencl::Found& found : opencl::find_devices()) {
    try {
      auto runtime = std::make_unique<opencl::Runtime>(found.platform, found.device);
      runtime->tune = options.tune;
      auto heaps = opencl::working_heaps(*runtime);
      const auto is_visible = [](const auto& heap) { return heap->traits().device_visible; };
      if (std::ranges::none_of(heaps, is_visible))
        throw Error("opencl", "memory that comes back as it was written", runtime->description());
      std::string name = devices.empty() ? "opencl" : fmt::format("opencl:{}", devices.size());
      devices.push_back(std::make_unique<opencl::OpenclDevice>(std::move(name), std::move(runtime),
                                                               std::move(heaps)));
      if (is_the_one(*devices.back(), options)) break;
    } catch (const Error& error) {
      if (options.report) options.report({error, true});  // a driver that cannot even begin
    }
  }
  return devices;
}

}  // namespace maru
