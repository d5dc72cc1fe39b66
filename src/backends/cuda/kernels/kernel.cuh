// What every kernels/NAME.cu begins with: how functions are found by name, and elements of either type.
//
//   MARU_CUDA_FUNCTION("pool_f16", pool<half>)      at namespace scope, for each function
//
// Functions take one parameter, a struct by value.
#pragma once

#include <cuda_fp16.h>

#include <cstdint>

namespace maru::cuda {

struct Function {
  const char* name;
  const void* function;
  const Function* next;

  Function(const char* function_name, const void* device_function)
      : name(function_name), function(device_function), next(first()) {
    first() = this;
  }
  static const Function*& first() {
    static const Function* all = nullptr;
    return all;
  }
};

#define MARU_CUDA_NAME2(a, b) a##b
#define MARU_CUDA_NAME(a, b) MARU_CUDA_NAME2(a, b)
#define MARU_CUDA_FUNCTION(name, ...)                                        \
  static const ::maru::cuda::Function MARU_CUDA_NAME(function, __COUNTER__)( \
      name, reinterpret_cast<const void*>(&__VA_ARGS__));

__device__ inline float to_float(float value) { return value; }
__device__ inline float to_float(__half value) { return __half2float(value); }
template <class T>
__device__ T from_float(float value);
template <>
__device__ inline float from_float<float>(float value) {
  return value;
}
template <>
__device__ inline __half from_float<__half>(float value) {
  return __float2half_rn(value);
}

}  // namespace maru::cuda
