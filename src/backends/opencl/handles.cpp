#include "backends/opencl/handles.h"

namespace maru::opencl {

std::string code_name(cl_int code) {
  switch (code) {
#define MARU_CODE(name) \
  case name:            \
    return #name
    MARU_CODE(CL_SUCCESS);
    MARU_CODE(CL_DEVICE_NOT_FOUND);
    MARU_CODE(CL_DEVICE_NOT_AVAILABLE);
    MARU_CODE(CL_COMPILER_NOT_AVAILABLE);
    MARU_CODE(CL_MEM_OBJECT_ALLOCATION_FAILURE);
    MARU_CODE(CL_OUT_OF_RESOURCES);
    MARU_CODE(CL_OUT_OF_HOST_MEMORY);
    MARU_CODE(CL_MEM_COPY_OVERLAP);
    MARU_CODE(CL_BUILD_PROGRAM_FAILURE);
    MARU_CODE(CL_MAP_FAILURE);
    MARU_CODE(CL_MISALIGNED_SUB_BUFFER_OFFSET);
    MARU_CODE(CL_EXEC_STATUS_ERROR_FOR_EVENTS_IN_WAIT_LIST);
    MARU_CODE(CL_COMPILE_PROGRAM_FAILURE);
    MARU_CODE(CL_LINKER_NOT_AVAILABLE);
    MARU_CODE(CL_LINK_PROGRAM_FAILURE);
    MARU_CODE(CL_INVALID_VALUE);
    MARU_CODE(CL_INVALID_DEVICE);
    MARU_CODE(CL_INVALID_CONTEXT);
    MARU_CODE(CL_INVALID_QUEUE_PROPERTIES);
    MARU_CODE(CL_INVALID_COMMAND_QUEUE);
    MARU_CODE(CL_INVALID_HOST_PTR);
    MARU_CODE(CL_INVALID_MEM_OBJECT);
    MARU_CODE(CL_INVALID_BINARY);
    MARU_CODE(CL_INVALID_BUILD_OPTIONS);
    MARU_CODE(CL_INVALID_PROGRAM);
    MARU_CODE(CL_INVALID_PROGRAM_EXECUTABLE);
    MARU_CODE(CL_INVALID_KERNEL_NAME);
    MARU_CODE(CL_INVALID_KERNEL_DEFINITION);
    MARU_CODE(CL_INVALID_KERNEL);
    MARU_CODE(CL_INVALID_ARG_INDEX);
    MARU_CODE(CL_INVALID_ARG_VALUE);
    MARU_CODE(CL_INVALID_ARG_SIZE);
    MARU_CODE(CL_INVALID_KERNEL_ARGS);
    MARU_CODE(CL_INVALID_WORK_DIMENSION);
    MARU_CODE(CL_INVALID_WORK_GROUP_SIZE);
    MARU_CODE(CL_INVALID_WORK_ITEM_SIZE);
    MARU_CODE(CL_INVALID_GLOBAL_OFFSET);
    MARU_CODE(CL_INVALID_EVENT_WAIT_LIST);
    MARU_CODE(CL_INVALID_EVENT);
    MARU_CODE(CL_INVALID_OPERATION);
    MARU_CODE(CL_INVALID_BUFFER_SIZE);
    MARU_CODE(CL_INVALID_GLOBAL_WORK_SIZE);
#undef MARU_CODE
    default:
      return fmt::format("OpenCL error {}", code);
  }
}

void check(cl_int code, std::string_view call) {
  if (code == CL_SUCCESS) return;
  throw Error("opencl", fmt::format("{} to succeed", call), code_name(code),
              is_out_of_memory(code) ? "a smaller batch or fewer sessions"
                                     : "`clinfo` to see whether the driver works");
}

bool is_out_of_memory(cl_int code) {
  return code == CL_MEM_OBJECT_ALLOCATION_FAILURE || code == CL_OUT_OF_RESOURCES ||
         code == CL_OUT_OF_HOST_MEMORY;
}

namespace {

std::string without_padding(std::string text) {
  while (!text.empty() && (text.back() == '\0' || text.back() == ' ')) text.pop_back();
  return text.substr(std::min(text.find_first_not_of(' '), text.size()));
}

}  // namespace

std::string device_text(cl_device_id device, cl_device_info what) {
  std::size_t bytes = 0;
  if (clGetDeviceInfo(device, what, 0, nullptr, &bytes) != CL_SUCCESS) return "";
  std::string text(bytes, '\0');
  if (clGetDeviceInfo(device, what, bytes, text.data(), nullptr) != CL_SUCCESS) return "";
  return without_padding(std::move(text));
}

std::string platform_text(cl_platform_id platform, cl_platform_info what) {
  std::size_t bytes = 0;
  if (clGetPlatformInfo(platform, what, 0, nullptr, &bytes) != CL_SUCCESS) return "";
  std::string text(bytes, '\0');
  if (clGetPlatformInfo(platform, what, bytes, text.data(), nullptr) != CL_SUCCESS) return "";
  return without_padding(std::move(text));
}

}  // namespace maru::opencl
