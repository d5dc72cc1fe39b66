#include "ops/cast.h"

#include <array>
#include <vector>

#include "backends/opencl/provider.h"
#include "tensor/half.h"

namespace maru::opencl {
namespace {

cl_program cast_program(const Runtime& runtime, bool narrows) {
  return runtime.program("cast", narrows ? "-DTO_HALF" : "");
}

class CastProvider final : public Provider {
 public:
  std::string name() const override { return "cast.cl"; }

  void offer(const Call& call, const Runtime& runtime, std::vector<Offer>& offers) const override {
    if (call.op.as<Cast>() == nullptr || !runtime.has_halves()) return;
    const bool narrows = call.dst[0].dtype == DType::f16;
    if (call.src[0].dtype != (narrows ? DType::f32 : DType::f16)) return;
    const auto bytes = static_cast<double>(call.src[0].bytes() + call.dst[0].bytes());
    for (const Layout layout : natural_layouts(call, runtime)) {
      Offer offer = same_layout_offer(*this, call, layout, memory_seconds(bytes));
      offer.src_window = offer.dst_window = true;
      offers.push_back(std::move(offer));
    }
  }

  std::unique_ptr<Kernel> compile(const Call& call, const Runtime& runtime) const override {
    const Images from(call.src[0]), to(call.dst[0]);
    const bool narrows = call.dst[0].dtype == DType::f16;
    return std::make_unique<OpenclKernel>(
        fmt::format("cast.cl {}", to_string(call.dst[0].dtype)),
        std::vector{stage(cast_program(runtime, narrows), "cast",
                          (from.run + runtime.block - 1) / runtime.block, 1, from.count,
                          {src(0), dst(0), from.stride, to.stride, static_cast<cl_ulong>(from.run)})});
  }
};

// One launch of cast.cl on `count` elements.
void run_cast(const Runtime& runtime, bool narrows, cl_mem src, cl_mem dst, std::size_t count) {
  cl_int code = CL_SUCCESS;
  const KernelHandle kernel(clCreateKernel(cast_program(runtime, narrows), "cast", &code));
  check(code, "clCreateKernel");
  const cl_ulong zero = 0, run = count;
  check(clSetKernelArg(kernel.get(), 0, sizeof(cl_mem), &src), "clSetKernelArg");
  check(clSetKernelArg(kernel.get(), 1, sizeof zero, &zero), "clSetKernelArg");
  check(clSetKernelArg(kernel.get(), 2, sizeof(cl_mem), &dst), "clSetKernelArg");
  for (cl_uint i = 3; i < 6; ++i)
    check(clSetKernelArg(kernel.get(), i, sizeof zero, &zero), "clSetKernelArg");
  check(clSetKernelArg(kernel.get(), 6, sizeof run, &run), "clSetKernelArg");
  check(clEnqueueNDRangeKernel(runtime.own_queue(), kernel.get(), 1, nullptr, &kGroup, &kGroup, 0,
                               nullptr, nullptr),
        "clEnqueueNDRangeKernel");
}

}  // namespace

bool stores_halves(const Runtime& runtime) {
  // Ties to even, both ends of the range, and a vector that is not whole at the end.
  std::vector<float> values{1,     -2.5F, 1 + 0x1p-11F, 1 + 0x3p-11F, 1 / 3.0F,
                            65504, 65519, 65520,        0x1p-14F};
  while (values.size() < 37) values.push_back(0.1F * static_cast<float>(values.size()));
  const std::size_t count = values.size(), bytes = count * sizeof(float);
  std::vector<std::uint16_t> halves(count);
  std::vector<float> back(count);
  const auto room = [&](std::size_t size) {
    cl_int code = CL_SUCCESS;
    MemoryHandle memory(clCreateBuffer(runtime.context(), CL_MEM_READ_WRITE, size, nullptr, &code));
    check(code, "clCreateBuffer");
    return memory;
  };
  const MemoryHandle single = room(bytes), half = room(bytes / 2), again = room(bytes);
  const cl_command_queue queue = runtime.own_queue();
  check(
      clEnqueueWriteBuffer(queue, single.get(), CL_TRUE, 0, bytes, values.data(), 0, nullptr, nullptr),
      "clEnqueueWriteBuffer");
  run_cast(runtime, true, single.get(), half.get(), count);
  run_cast(runtime, false, half.get(), again.get(), count);
  check(
      clEnqueueReadBuffer(queue, half.get(), CL_TRUE, 0, bytes / 2, halves.data(), 0, nullptr, nullptr),
      "clEnqueueReadBuffer");
  check(clEnqueueReadBuffer(queue, again.get(), CL_TRUE, 0, bytes, back.data(), 0, nullptr, nullptr),
        "clEnqueueReadBuffer");
  for (std::size_t i = 0; i < count; ++i) {
    if (halves[i] != to_half(values[i]) || back[i] != rounded_to_half(values[i])) return false;
  }
  return true;
}

std::unique_ptr<Provider> cast_provider() { return std::make_unique<CastProvider>(); }

}  // namespace maru::opencl
