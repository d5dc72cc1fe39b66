/* libnvidia-ml as the tests want it: one GPU of 250 W whose counter moves every 20 ms. FAKE_NVML_OLD: a
   library that lacks what came later. The environment says what goes wrong. */
#include <stdlib.h>
#include <string.h>
#include <time.h>

#define EXPORT __attribute__((visibility("default")))

static double seconds(void) {
  struct timespec now;
  clock_gettime(CLOCK_MONOTONIC, &now);
  return (double)now.tv_sec + (double)now.tv_nsec * 1e-9;
}
static int is_set(const char* name) { return getenv(name) != NULL; }
static int device;

EXPORT int nvmlInit_v2(void) { return is_set("FAKE_NVML_NO_DRIVER") ? 9 : 0; }
EXPORT int nvmlShutdown(void) { return 0; }
EXPORT int nvmlDeviceGetHandleByIndex_v2(unsigned index, void** handle) {
  *handle = &device;
  return index == 0 ? 0 : 2;
}
EXPORT int nvmlDeviceGetName(void* handle, char* name, unsigned size) {
  (void)handle;
  strncpy(name, "NVIDIA Test", size);
  return 0;
}
EXPORT int nvmlDeviceGetPowerUsage(void* handle, unsigned* milliwatts) {
  (void)handle;
  *milliwatts = 240000;
  return is_set("FAKE_NVML_NO_POWER") ? 3 : 0;
}
#ifndef FAKE_NVML_OLD
EXPORT int nvmlSystemGetDriverVersion(char* text, unsigned size) {
  strncpy(text, "999.1", size);
  return 0;
}
EXPORT int nvmlDeviceGetTotalEnergyConsumption(void* handle, unsigned long long* millijoules) {
  (void)handle;
  if (is_set("FAKE_NVML_NO_COUNTER")) return 3;
  *millijoules = 5000000ULL + (unsigned long long)(seconds() / 0.02) * 5000ULL;
  if (is_set("FAKE_NVML_STUCK")) *millijoules = 5000000ULL;
  if (is_set("FAKE_NVML_RESET")) *millijoules = 10ULL;
  return 0;
}
struct field {
  unsigned id, scope;
  long long timestamp, latency;
  int type, status;
  union {
    double real;
    unsigned integer;
    unsigned long long wide;
  } value;
};
EXPORT int nvmlDeviceGetFieldValues(void* handle, int count, struct field* fields) {
  (void)handle;
  for (int i = 0; i < count; ++i) {
    fields[i].status = fields[i].id == 186 && !is_set("FAKE_NVML_NO_INSTANT") ? 0 : 3;
    fields[i].type = 1;
    fields[i].value.integer = 251000;
  }
  return 0;
}
EXPORT int nvmlDeviceGetMemoryInfo(void* handle, unsigned long long* total_free_used) {
  (void)handle;
  total_free_used[0] = 100;
  total_free_used[1] = 70;
  total_free_used[2] = 30;
  return 0;
}
EXPORT int nvmlDeviceGetClockInfo(void* handle, int kind, unsigned* megahertz) {
  (void)handle;
  *megahertz = kind == 1 ? 1980 : 1;
  return 0;
}
EXPORT int nvmlDeviceGetTemperature(void* handle, int kind, unsigned* degrees) {
  (void)handle;
  *degrees = kind == 0 ? 61 : 1;
  return 0;
}
EXPORT int nvmlDeviceGetCurrentClocksEventReasons(void* handle, unsigned long long* bits) {
  (void)handle;
  const char* text = getenv("FAKE_NVML_REASONS");
  *bits = text == NULL ? 0 : strtoull(text, NULL, 0);
  return 0;
}
#endif
