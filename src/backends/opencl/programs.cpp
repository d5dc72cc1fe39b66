#include "backends/opencl/programs.h"

#include <algorithm>

#include "backends/opencl/sources.h"
#include "base/cache_folder.h"

namespace maru::opencl {
namespace {

std::string_view text_of(std::string_view name) {
  const auto sources = all_sources();
  const auto found = std::ranges::find(sources, name, &Source::name);
  MARU_ASSERT(found != sources.end());
  return found->text;
}

// What to show of a compiler's log.
std::string first_lines(const std::string& log, int lines) {
  std::size_t end = 0;
  while (lines-- > 0 && end < log.size()) end = std::min(log.find('\n', end), log.size() - 1) + 1;
  return log.substr(0, end);
}

}  // namespace

Programs::Programs(cl_context context, cl_device_id device, std::string identity, std::string options)
    : context_(context),
      device_(device),
      identity_(std::move(identity)),
      options_(std::move(options)) {}

cl_program Programs::get(std::string_view source, const std::string& options) {
  Entry* entry = nullptr;
  {
    const std::lock_guard lock(mutex_);
    entry = &entries_[fmt::format("{} {}", source, options)];
  }
  const std::lock_guard lock(entry->mutex);
  if (entry->program) return entry->program.get();
  const std::string text =
      fmt::format("{}\n#line 1 \"{}.cl\"\n{}", text_of("common"), source, text_of(source));
  const std::string all_options = options.empty() ? options_ : options_ + " " + options;
  const std::string key = fmt::format("{}\n{}\n{}", identity_, all_options, text);
  if (const auto kept = read_cached("opencl", key)) entry->program = from_binary(*kept, all_options);
  if (!entry->program) {
    entry->program = build(source, text, all_options);
    write_cached("opencl", key, binary_of(entry->program.get()));
  }
  return entry->program.get();
}

ProgramHandle Programs::build(std::string_view name, const std::string& text,
                              const std::string& options) const {
  const char* data = text.c_str();
  const std::size_t size = text.size();
  cl_int code = CL_SUCCESS;
  ProgramHandle program(clCreateProgramWithSource(context_, 1, &data, &size, &code));
  check(code, "clCreateProgramWithSource");
  code = clBuildProgram(program.get(), 1, &device_, options.c_str(), nullptr, nullptr);
  if (code == CL_SUCCESS) return program;
  std::size_t bytes = 0;
  clGetProgramBuildInfo(program.get(), device_, CL_PROGRAM_BUILD_LOG, 0, nullptr, &bytes);
  std::string log(bytes, '\0');
  clGetProgramBuildInfo(program.get(), device_, CL_PROGRAM_BUILD_LOG, bytes, log.data(), nullptr);
  throw Error(fmt::format("opencl {}.cl", name), "a program that the driver compiles",
              fmt::format("{} with {}:\n{}", code_name(code), options, first_lines(log, 10)),
              "reporting this with the output of `clinfo`");
}

ProgramHandle Programs::from_binary(const std::vector<unsigned char>& binary,
                                    const std::string& options) const {
  const unsigned char* data = binary.data();
  const std::size_t size = binary.size();
  cl_int code = CL_SUCCESS, status = CL_SUCCESS;
  ProgramHandle program(clCreateProgramWithBinary(context_, 1, &device_, &size, &data, &status, &code));
  if (code != CL_SUCCESS || status != CL_SUCCESS) return {};
  code = clBuildProgram(program.get(), 1, &device_, options.c_str(), nullptr, nullptr);
  return code == CL_SUCCESS ? std::move(program) : ProgramHandle();
}

std::vector<unsigned char> Programs::binary_of(cl_program program) const {
  std::size_t size = 0;
  if (clGetProgramInfo(program, CL_PROGRAM_BINARY_SIZES, sizeof size, &size, nullptr) != CL_SUCCESS) {
    return {};
  }
  std::vector<unsigned char> binary(size);
  unsigned char* data = binary.data();
  if (clGetProgramInfo(program, CL_PROGRAM_BINARIES, sizeof data, &data, nullptr) != CL_SUCCESS) {
    return {};
  }
  return binary;
}

}  // namespace maru::opencl
