// A library for CUDA_INJECTION64_PATH that counts what is copied in a process, from outside: through
// CUPTI, calls of cudaMemcpy and its like with their bytes, and calls of cuMemcpy and its like, whoever
// made them. Writes them to the file that COPY_COUNTER names when the process ends.
#include <cuda_runtime_api.h>
#include <cupti.h>

#include <atomic>
#include <cstdio>
#include <cstdlib>
#include <string_view>

namespace {

std::atomic<unsigned long long> calls, bytes, other_calls, driver_calls;

void write_down() {
  const char* path = std::getenv("COPY_COUNTER");
  std::FILE* file = path == nullptr ? nullptr : std::fopen(path, "w");
  if (file == nullptr) return;
  std::fprintf(file,
               "{\"runtime\": {\"calls\": %llu, \"bytes\": %llu}, \"other\": {\"calls\": %llu}, "
               "\"driver\": {\"calls\": %llu}}\n",
               calls.load(), bytes.load(), other_calls.load(), driver_calls.load());
  std::fclose(file);
}

void count_runtime(const CUpti_CallbackData& call, CUpti_CallbackId id) {
  if (id == CUPTI_RUNTIME_TRACE_CBID_cudaMemcpyAsync_v3020 ||
      id == CUPTI_RUNTIME_TRACE_CBID_cudaMemcpyAsync_ptsz_v7000) {
    calls += 1;
    bytes += static_cast<const cudaMemcpyAsync_v3020_params*>(call.functionParams)->count;
  } else if (id == CUPTI_RUNTIME_TRACE_CBID_cudaMemcpy_v3020 ||
             id == CUPTI_RUNTIME_TRACE_CBID_cudaMemcpy_ptds_v7000) {
    calls += 1;
    bytes += static_cast<const cudaMemcpy_v3020_params*>(call.functionParams)->count;
  } else {
    other_calls += 1;  // kinds whose bytes are not read here
  }
}

void CUPTIAPI on_call(void*, CUpti_CallbackDomain domain, CUpti_CallbackId id, const void* data) {
  const auto& call = *static_cast<const CUpti_CallbackData*>(data);
  if (call.callbackSite != CUPTI_API_ENTER) return;
  const std::string_view name = call.functionName;
  if (domain == CUPTI_CB_DOMAIN_RUNTIME_API && name.substr(0, 10) == "cudaMemcpy") {
    count_runtime(call, id);
  } else if (domain == CUPTI_CB_DOMAIN_DRIVER_API && name.substr(0, 8) == "cuMemcpy") {
    driver_calls += 1;
  }
}

}  // namespace

// What the driver calls when it starts. 0: it failed, and the driver goes on without it.
extern "C" __attribute__((visibility("default"))) int InitializeInjection() {
  CUpti_SubscriberHandle subscriber = nullptr;
  if (cuptiSubscribe(&subscriber, on_call, nullptr) != CUPTI_SUCCESS ||
      cuptiEnableDomain(1, subscriber, CUPTI_CB_DOMAIN_RUNTIME_API) != CUPTI_SUCCESS ||
      cuptiEnableDomain(1, subscriber, CUPTI_CB_DOMAIN_DRIVER_API) != CUPTI_SUCCESS) {
    std::fprintf(stderr, "cuda_copy_counter: CUPTI refuses to count\n");
    return 0;
  }
  std::atexit(write_down);
  return 1;
}
