#include "backends/opencl/runtime.h"

#include <algorithm>

namespace maru::opencl {
namespace {

bool has_word(const std::string& words, std::string_view word) {
  return (" " + words + " ").find(fmt::format(" {} ", word)) != std::string::npos;
}

// "OpenCL 2.0 ..." or later.
bool is_version_2(cl_device_id device) {
  const std::string version = device_text(device, CL_DEVICE_VERSION);
  return version.starts_with("OpenCL ") && version.size() > 7 && version[7] >= '2';
}

// A processor works best with its widest registers; the parts of a GPU's vectors are run one by one.
int block_of(cl_device_id device, bool is_cpu) {
  if (!is_cpu) return 4;
  const auto preferred = device_info<cl_uint>(device, CL_DEVICE_PREFERRED_VECTOR_WIDTH_FLOAT);
  const auto native = device_info<cl_uint>(device, CL_DEVICE_NATIVE_VECTOR_WIDTH_FLOAT);
  const cl_uint width = std::max(preferred, native);
  return width >= 16 ? 16 : width >= 8 ? 8 : 4;
}

ContextHandle make_context(cl_platform_id platform, cl_device_id device) {
  const cl_context_properties properties[] = {CL_CONTEXT_PLATFORM,
                                              reinterpret_cast<cl_context_properties>(platform), 0};
  cl_int code = CL_SUCCESS;
  ContextHandle context(clCreateContext(properties, 1, &device, nullptr, nullptr, &code));
  check(code, "clCreateContext");
  return context;
}

}  // namespace

Runtime::Runtime(cl_platform_id platform, cl_device_id device)
    : device_(device), context_(make_context(platform, device)), own_queue_(make_queue()) {
  const std::string extensions = device_text(device, CL_DEVICE_EXTENSIONS);
  is_cpu = (device_info<cl_device_type>(device, CL_DEVICE_TYPE) & CL_DEVICE_TYPE_CPU) != 0;
  has_unified_memory = device_info<cl_bool>(device, CL_DEVICE_HOST_UNIFIED_MEMORY) != 0;
  has_fp16 = has_word(extensions, "cl_khr_fp16");
  // The driver's maker: what others (PoCL) run on Intel's processors is not Intel's.
  is_intel = platform_text(platform, CL_PLATFORM_VENDOR).find("Intel") != std::string::npos;
  if (is_version_2(device)) {
    const auto svm = device_info<cl_device_svm_capabilities>(device, CL_DEVICE_SVM_CAPABILITIES);
    has_coarse_svm = (svm & CL_DEVICE_SVM_COARSE_GRAIN_BUFFER) != 0;
    has_fine_svm = (svm & CL_DEVICE_SVM_FINE_GRAIN_BUFFER) != 0;
  }
  block = block_of(device, is_cpu);
  const std::size_t base_alignment = device_info<cl_uint>(device, CL_DEVICE_MEM_BASE_ADDR_ALIGN) / 8;
  alignment = std::max<std::size_t>(64, base_alignment);
  limit = static_cast<std::size_t>(device_info<cl_ulong>(device, CL_DEVICE_MAX_MEM_ALLOC_SIZE));
  compute_units = static_cast<int>(device_info<cl_uint>(device, CL_DEVICE_MAX_COMPUTE_UNITS));

  const std::string identity =
      fmt::format("{}; {}; {}", device_text(device, CL_DEVICE_NAME),
                  device_text(device, CL_DRIVER_VERSION), platform_text(platform, CL_PLATFORM_VERSION));
  programs_ = std::make_unique<Programs>(context(), device, identity,
                                         fmt::format("-cl-std=CL1.2 -DV={}", block));
}

QueueHandle Runtime::make_queue() const {
  cl_int code = CL_SUCCESS;
  QueueHandle queue(clCreateCommandQueue(context(), device_, 0, &code));
  check(code, "clCreateCommandQueue");
  return queue;
}

void Runtime::note_failure(cl_int code) const noexcept {
  if (code != CL_SUCCESS) noted_ = code;
}

void Runtime::throw_noted() const { check(noted_.exchange(CL_SUCCESS), "the last command"); }

bool Runtime::has_halves() const {
  std::call_once(halves_tried_, [&] {
    try {
      has_halves_ = stores_halves(*this);
    } catch (const Error&) {
      has_halves_ = false;
    }
  });
  return has_halves_;
}

std::string Runtime::description() const {
  return fmt::format("{}, {} compute unit{}, blocks of {} channels{}; driver {}",
                     device_text(device_, CL_DEVICE_NAME), compute_units, compute_units == 1 ? "" : "s",
                     block, has_fp16 ? ", fp16" : "", device_text(device_, CL_DRIVER_VERSION));
}

void OpenclQueue::finish() {
  check(clFinish(queue_.get()), "clFinish");
  runtime_.throw_noted();
}

}  // namespace maru::opencl
