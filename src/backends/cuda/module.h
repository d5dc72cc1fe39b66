// Module: libmaru_cuda.so, opened when maru runs. All of CUDA is behind it. Immutable; any thread may
// use it.
#pragma once

#include <memory>
#include <string>

#include "backends/cuda/module/maru_cuda.h"

namespace maru::cuda {

class Module {
 public:
  // The module of this build: where MARU_CUDA_MODULE says, beside the program, or where it was
  // installed. Throws Error saying what is missing. Opened once, and kept.
  static std::shared_ptr<const Module> open();
  // For tests: a module that is part of the program.
  explicit Module(const maru_cuda_api& api) : api_(&api) {}

  const maru_cuda_api& api() const noexcept { return *api_; }

 private:
  const maru_cuda_api* api_;
};

}  // namespace maru::cuda
