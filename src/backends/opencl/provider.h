// Provider: one family of kernels of the OpenCL backend; what it can run, and how. Stateless.
// OpenclKernel: a node as one or a few launches of functions in OpenCL C, each with its arguments.
//
// A tensor reaches a function as two arguments, `__global T* base, ulong offset`: what the buffer is,
// and where in it the tensor begins, in elements. So windows and arenas need no sub-buffers.
#pragma once

#include <array>
#include <memory>
#include <string>
#include <variant>
#include <vector>

#include "backends/opencl/runtime.h"
#include "device/device.h"

namespace maru::opencl {

class Provider {
 public:
  virtual ~Provider() = default;
  virtual std::string name() const = 0;
  // Adds the ways in which this family can run the call; none is fine. Offers are named name().
  virtual void offer(const Call& call, const Runtime& runtime, std::vector<Offer>& offers) const = 0;
  virtual std::unique_ptr<Kernel> compile(const Call& call, const Runtime& runtime) const = 0;
};

// In order of preference among equals.
std::vector<std::unique_ptr<Provider>> providers();
std::unique_ptr<Provider> conv_provider();
std::unique_ptr<Provider> cast_provider();
std::unique_ptr<Provider> copy_provider();
std::unique_ptr<Provider> inner_product_provider();
std::unique_ptr<Provider> rows_provider();
std::unique_ptr<Provider> unary_provider();
std::unique_ptr<Provider> winograd_provider();
std::unique_ptr<Provider> pool_provider();
std::unique_ptr<Provider> lrn_provider();
std::unique_ptr<Provider> eltwise_provider();
std::unique_ptr<Provider> channelwise_provider();
std::unique_ptr<Provider> softmax_provider();
std::unique_ptr<Provider> preprocess_provider();

// An operand as arguments: base and offset. Elements are the tensor's unless `element` says how many
// bytes one has.
struct Operand {
  enum class Kind { src, dst, workspace } kind;
  std::size_t index = 0;
  std::size_t element = 0;
};
inline Operand src(std::size_t index) { return {Operand::Kind::src, index}; }
inline Operand dst(std::size_t index) { return {Operand::Kind::dst, index}; }
inline Operand workspace(std::size_t element, std::size_t first_byte = 0) {
  return {Operand::Kind::workspace, first_byte, element};
}
// How many elements src[index] has when memory is bound: inputs may then be larger than when compiled.
struct Count {
  std::size_t index = 0;
};
struct LocalMemory {
  std::size_t bytes = 0;
};
using Argument = std::variant<Operand, Count, LocalMemory, cl_int, cl_uint, cl_ulong, cl_float>;

// One launch of a function. `program` belongs to the Runtime. Nothing is launched where global is 0.
struct Stage {
  cl_program program = nullptr;
  std::string function;
  std::array<std::size_t, 3> global{1, 1, 1}, local{1, 1, 1};
  std::vector<Argument> arguments;
};

// What kernels/common.cl requires of functions marked MARU_KERNEL: groups of 64 x 1 x 1.
constexpr std::size_t kGroup = 64;
// The same for at least x * y * z work items; functions return where x is beyond.
Stage stage(cl_program program, std::string function, std::int64_t x, std::int64_t y, std::int64_t z,
            std::vector<Argument> arguments);
// For functions marked MARU_LARGE_KERNEL, in programs built with large_option().
Stage large_stage(const Runtime& runtime, cl_program program, std::string function, std::int64_t x,
                  std::int64_t y, std::int64_t z, std::vector<Argument> arguments);
std::string large_option(const Runtime& runtime);

class OpenclKernel : public Kernel {
 public:
  OpenclKernel(std::string name, std::vector<Stage> stages, std::size_t workspace_bytes = 0)
      : name_(std::move(name)), stages_(std::move(stages)), workspace_bytes_(workspace_bytes) {}

  std::string name() const override { return name_; }
  std::size_t workspace_bytes() const override { return workspace_bytes_; }
  std::unique_ptr<Launch> bind(std::span<const Tensor> src, std::span<const Tensor> dst,
                               const Tensor& workspace) const override;

 private:
  std::string name_;
  std::vector<Stage> stages_;
  std::size_t workspace_bytes_;
};

// An offer which takes and gives one layout for every operand.
Offer same_layout_offer(const Provider& provider, const Call& call, Layout layout, double seconds);

// Layouts to offer for a kernel that works in the layout of its first operand: that one when it is
// known, otherwise blocked, where there are channels to block, and plain.
std::vector<Layout> natural_layouts(const Call& call, const Runtime& runtime);
bool is_known(const Layout& layout, const Runtime& runtime);  // plain, or blocked as the device has it

// Data is all f32 or, where the device has halves, all f16; constants are f32.
bool has_floats(const Call& call, const Runtime& runtime);
// Of such a call: whether data is f16; the option that says so to common.cl; and a constant that is
// packed as data is.
inline bool is_half(const Call& call) { return call.src[0].dtype == DType::f16; }
inline std::string half_option(const Call& call) { return is_half(call) ? " -DHALF" : ""; }
inline Operand packed_src(std::size_t index, const Call& call) {
  return {Operand::Kind::src, index, size_of(call.src[0].dtype)};
}
// Rough estimates, good enough to rank offers: bytes moved, and one launch.
double memory_seconds(double bytes);

// What functions want to know of one tensor of images, in elements, be its pixels many or one. Tensors
// of less than two axes are one image of one channel.
struct Images {
  explicit Images(const TensorDesc& desc);
  cl_ulong stride;     // from one image to the next
  std::int64_t count;  // images
  std::int64_t channels, pixels, blocks;
  std::int64_t run;  // elements of one image, padding of blocks included; they lie side by side
};

// "-DBLOCK=16" or "-DBLOCK=1": the layout for which a program is compiled.
std::string block_option(const Layout& layout);

}  // namespace maru::opencl
