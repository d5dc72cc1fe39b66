#include "backends/cuda/module.h"

#include <dlfcn.h>
#include <fmt/format.h>

#include <cstdlib>
#include <filesystem>
#include <mutex>
#include <vector>

#include "base/error.h"

namespace maru::cuda {
namespace {

namespace fs = std::filesystem;

constexpr const char* kFile = "libmaru_cuda.so";

// The folder of the program or the library that this code is part of.
fs::path own_folder() {
  Dl_info info{};
  if (::dladdr(reinterpret_cast<const void*>(&own_folder), &info) == 0 || info.dli_fname == nullptr)
    return {};
  std::error_code ignored;
  const fs::path file = fs::canonical(info.dli_fname, ignored);
  // A program started through PATH is known by its bare name.
  return (file.empty() ? fs::canonical("/proc/self/exe", ignored) : file).parent_path();
}

std::vector<fs::path> places() {
  if (const char* wanted = std::getenv("MARU_CUDA_MODULE"); wanted != nullptr && *wanted != '\0')
    return {fs::path(wanted)};
  const fs::path here = own_folder();
  return {here / kFile, here / ".." / "lib" / kFile, fs::path(MARU_CUDA_MODULE_FOLDER) / kFile};
}

const maru_cuda_api& load() {
  std::string tried;
  std::error_code ignored;
  for (const fs::path& place : places()) {
    tried += (tried.empty() ? "" : ", ") + place.lexically_normal().string();
    if (!fs::exists(place, ignored)) continue;
    void* library = ::dlopen(place.c_str(), RTLD_NOW | RTLD_LOCAL);
    if (library == nullptr) {
      throw Error("cuda", "a module that can be opened", ::dlerror(),
                  "installing the library that it names");
    }
    const auto entry = reinterpret_cast<maru_cuda_entry>(::dlsym(library, "maru_cuda"));
    const maru_cuda_api* api = entry == nullptr ? nullptr : entry();
    if (api == nullptr || api->abi != MARU_CUDA_ABI) {
      throw Error(place.string(),
                  fmt::format("the CUDA module of this maru, version {}", +MARU_CUDA_ABI),
                  api == nullptr ? "another library" : fmt::format("version {}", api->abi),
                  "installing both from the same build");
    }
    return *api;  // stays open: what it has given out may live as long as the process
  }
  throw Error("cuda", fmt::format("the module {}", kFile), fmt::format("none at {}", tried),
              "a build with nvcc, or MARU_CUDA_MODULE=FILE");
}

}  // namespace

std::shared_ptr<const Module> Module::open() {
  static std::mutex mutex;
  static std::shared_ptr<const Module> opened;
  const std::lock_guard lock(mutex);
  if (!opened) opened = std::make_shared<const Module>(load());
  return opened;
}

}  // namespace maru::cuda
