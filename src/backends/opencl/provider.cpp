#include "backends/opencl/provider.h"

#include <algorithm>

#include "backends/opencl/heaps.h"

namespace maru::opencl {
namespace {

class OpenclLaunch final : public Launch {
 public:
  struct One {
    KernelHandle kernel;
    std::array<std::size_t, 3> global, local;
  };

  explicit OpenclLaunch(std::vector<One> all) : all_(std::move(all)) {}

  void run(Queue& queue) override {
    const cl_command_queue to = static_cast<OpenclQueue&>(queue).get();
    for (const One& one : all_) {
      check(clEnqueueNDRangeKernel(to, one.kernel.get(), 3, nullptr, one.global.data(),
                                   one.local.data(), 0, nullptr, nullptr),
            "clEnqueueNDRangeKernel");
    }
  }

 private:
  std::vector<One> all_;
};

// Sets the arguments of one function, in order.
class Arguments {
 public:
  Arguments(cl_kernel kernel, std::span<const Tensor> src, std::span<const Tensor> dst,
            const Tensor& workspace)
      : kernel_(kernel), src_(src), dst_(dst), workspace_(workspace) {}

  void operator()(const Operand& operand) {
    const bool is_workspace = operand.kind == Operand::Kind::workspace;
    const Tensor& tensor = is_workspace                         ? workspace_
                           : operand.kind == Operand::Kind::src ? src_[operand.index]
                                                                : dst_[operand.index];
    const auto* heap = dynamic_cast<const OpenclHeap*>(&tensor.buffer->heap());
    MARU_ASSERT(heap != nullptr && heap->traits().device_visible);
    if (heap->kind() == OpenclHeap::Native::svm) {
      check(clSetKernelArgSVMPointer(kernel_, next_++, tensor.buffer->native()),
            "clSetKernelArgSVMPointer");
    } else {
      const auto memory = static_cast<cl_mem>(tensor.buffer->native());
      set(sizeof(cl_mem), &memory);
    }
    const std::size_t element = operand.element != 0 ? operand.element : size_of(tensor.desc.dtype);
    const std::size_t bytes = tensor.offset + (is_workspace ? operand.index : 0);
    MARU_ASSERT(bytes % element == 0);
    (*this)(cl_ulong{bytes / element});
  }
  void operator()(const Count& count) {
    (*this)(static_cast<cl_ulong>(src_[count.index].desc.count()));
  }
  void operator()(const LocalMemory& local) { set(local.bytes, nullptr); }
  void operator()(cl_int value) { set(sizeof value, &value); }
  void operator()(cl_uint value) { set(sizeof value, &value); }
  void operator()(cl_ulong value) { set(sizeof value, &value); }
  void operator()(cl_float value) { set(sizeof value, &value); }

 private:
  void set(std::size_t bytes, const void* value) {
    check(clSetKernelArg(kernel_, next_++, bytes, value), "clSetKernelArg");
  }

  cl_kernel kernel_;
  std::span<const Tensor> src_, dst_;
  const Tensor& workspace_;
  cl_uint next_ = 0;
};

}  // namespace

std::vector<std::unique_ptr<Provider>> providers() {
  std::vector<std::unique_ptr<Provider>> all;
  all.push_back(conv_provider());
  all.push_back(winograd_provider());
  all.push_back(inner_product_provider());
  all.push_back(copy_provider());
  all.push_back(cast_provider());
  all.push_back(rows_provider());
  all.push_back(unary_provider());
  all.push_back(pool_provider());
  all.push_back(lrn_provider());
  all.push_back(eltwise_provider());
  all.push_back(channelwise_provider());
  all.push_back(softmax_provider());
  all.push_back(preprocess_provider());
  return all;
}

Stage stage(cl_program program, std::string function, std::int64_t x, std::int64_t y, std::int64_t z,
            std::vector<Argument> arguments) {
  const std::size_t rounded = (static_cast<std::size_t>(x) + kGroup - 1) / kGroup * kGroup;
  return {program,
          std::move(function),
          {rounded, static_cast<std::size_t>(y), static_cast<std::size_t>(z)},
          {kGroup, 1, 1},
          std::move(arguments)};
}

Stage large_stage(const Runtime& runtime, cl_program program, std::string function, std::int64_t x,
                  std::int64_t y, std::int64_t z, std::vector<Argument> arguments) {
  Stage result = stage(program, std::move(function), x, y, z, std::move(arguments));
  if (!runtime.is_cpu) return result;
  result.global[0] = static_cast<std::size_t>(x);
  result.local[0] = 1;
  return result;
}

std::string large_option(const Runtime& runtime) { return runtime.is_cpu ? "-DSINGLE" : ""; }

std::unique_ptr<Launch> OpenclKernel::bind(std::span<const Tensor> src, std::span<const Tensor> dst,
                                           const Tensor& workspace) const {
  std::vector<OpenclLaunch::One> all;
  for (const Stage& one : stages_) {
    if (std::ranges::find(one.global, std::size_t{0}) != one.global.end()) continue;
    // Arguments belong to a cl_kernel, so each launch has its own.
    cl_int code = CL_SUCCESS;
    KernelHandle kernel(clCreateKernel(one.program, one.function.c_str(), &code));
    check(code, "clCreateKernel");
    Arguments arguments(kernel.get(), src, dst, workspace);
    for (const Argument& argument : one.arguments) std::visit(arguments, argument);
    all.push_back({std::move(kernel), one.global, one.local});
  }
  return std::make_unique<OpenclLaunch>(std::move(all));
}

Offer same_layout_offer(const Provider& provider, const Call& call, Layout layout, double seconds) {
  Offer offer;
  offer.kernel = provider.name();
  offer.src.assign(call.src.size(), layout);
  offer.dst.assign(call.dst.size(), layout);
  offer.seconds = seconds;
  return offer;
}

bool is_known(const Layout& layout, const Runtime& runtime) {
  return layout.kind == Layout::Kind::plain ||
         (layout.kind == Layout::Kind::blocked && layout.block == runtime.block);
}

std::vector<Layout> natural_layouts(const Call& call, const Runtime& runtime) {
  const TensorDesc& first = call.src[0];
  if (is_known(first.layout, runtime)) return {first.layout.dense()};
  if (first.shape.rank() == 4) return {Layout::plain(), Layout::blocked(runtime.block)};
  return {Layout::plain()};
}

bool has_floats(const Call& call, const Runtime& runtime) {
  const DType data = call.src[0].dtype;
  if (data != DType::f32 && (data != DType::f16 || !runtime.has_halves())) return false;
  for (std::size_t i = 0; i < call.src.size(); ++i) {
    if (call.src[i].dtype != (call.constant[i] ? DType::f32 : data)) return false;
  }
  return std::ranges::all_of(call.dst, [&](const TensorDesc& desc) { return desc.dtype == data; });
}

double memory_seconds(double bytes) {
  constexpr double kBytesPerSecond = 8e9, kLaunchSeconds = 5e-6;
  return kLaunchSeconds + bytes / kBytesPerSecond;
}

Images::Images(const TensorDesc& desc) {
  const bool has_images = desc.shape.rank() >= 2;
  count = has_images ? desc.shape[0] : 1;
  channels = has_images ? desc.shape[1] : 1;
  pixels = has_images ? desc.shape.count(2, desc.shape.rank()) : desc.count();
  blocks = (channels + desc.layout.block - 1) / desc.layout.block;
  run = blocks * desc.layout.block * pixels;
  stride = static_cast<cl_ulong>(has_images ? desc.image_stride() : run);
}

std::string block_option(const Layout& layout) { return fmt::format("-DBLOCK={}", layout.block); }

}  // namespace maru::opencl
