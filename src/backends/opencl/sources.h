// The texts of the kernels, from kernels/*.cl, as they were when this was built. Constant.
#pragma once

#include <span>
#include <string_view>

namespace maru::opencl {

struct Source {
  std::string_view name, text;  // the file's name without .cl
};

std::span<const Source> all_sources();

}  // namespace maru::opencl
