// Programs: the compiled kernels of one device, each built when first asked for and kept in memory and,
// as the driver's binary, in the cache folder. Owned by a Runtime; any thread may call.
#pragma once

#include <map>
#include <mutex>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "backends/opencl/handles.h"

namespace maru::opencl {

class Programs {
 public:
  // `identity`: text that differs wherever a binary would not fit: device, driver, platform.
  Programs(cl_context context, cl_device_id device, std::string identity, std::string options);

  // Two threads that ask for one program wait for one build. Throws Error with the first lines of the
  // log where it cannot be built.
  cl_program get(std::string_view source, const std::string& options);

 private:
  struct Entry {
    std::mutex mutex;
    ProgramHandle program;
  };

  ProgramHandle build(std::string_view name, const std::string& text, const std::string& options) const;
  ProgramHandle from_binary(const std::vector<unsigned char>& binary, const std::string& options) const;
  std::vector<unsigned char> binary_of(cl_program program) const;

  cl_context context_;
  cl_device_id device_;
  std::string identity_, options_;
  std::mutex mutex_;                      // of the map; each entry has its own
  std::map<std::string, Entry> entries_;  // by name and options
};

}  // namespace maru::opencl
