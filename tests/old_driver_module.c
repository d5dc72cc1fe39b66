/* A CUDA module on a machine whose driver is older than it wants. */
#include "backends/cuda/module/maru_cuda.h"

static const char* name(int code) {
  (void)code;
  return "cudaErrorInsufficientDriver";
}
static const char* text(int code) {
  (void)code;
  return "CUDA driver version is insufficient for CUDA runtime version";
}
static int versions(int* driver, int* runtime) {
  *driver = 11040;
  *runtime = 13000;
  return 0;
}
static int device_count(int* count) {
  *count = 0;
  return 35;
}

static const maru_cuda_api api = {.abi = MARU_CUDA_ABI,
                                  .out_of_memory = 2,
                                  .not_ready = 600,
                                  .no_device = 100,
                                  .error_name = name,
                                  .error_text = text,
                                  .versions = versions,
                                  .device_count = device_count};

__attribute__((visibility("default"))) const maru_cuda_api* maru_cuda(void) { return &api; }
