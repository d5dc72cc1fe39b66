// Provider: one family of kernels of the CUDA backend; what it can run, and how. Stateless.
// CudaKernel: a node as one or a few launches of functions of the module, each with its parameters.
//
// A function of the module (kernels/NAME.cu) takes one parameter: a plain struct by value, declared in
// kernels/NAME.h for both sides. Tensors reach it as addresses of the device, offsets included.
#pragma once

#include <array>
#include <concepts>
#include <cstring>
#include <functional>
#include <memory>
#include <string>
#include <type_traits>
#include <vector>

#include "backends/cuda/runtime.h"
#include "device/device.h"

namespace maru::cuda {

class Provider {
 public:
  virtual ~Provider() = default;
  virtual std::string name() const = 0;
  // Adds the ways in which this family can run the call; none is fine. Offers are named name(), or
  // begin with it and a space.
  virtual void offer(const Call& call, const Runtime& runtime, std::vector<Offer>& offers) const = 0;
  virtual std::unique_ptr<Kernel> compile(const Call& call, const Offer& offer,
                                          const Runtime& runtime) const = 0;
};

// In order of preference among equals.
std::vector<std::unique_ptr<Provider>> providers();
std::unique_ptr<Provider> all_reduce_provider();
std::unique_ptr<Provider> batch_norm_provider();
std::unique_ptr<Provider> cast_provider();
std::unique_ptr<Provider> channelwise_provider();
std::unique_ptr<Provider> conv_grad_data_provider();
std::unique_ptr<Provider> conv_grad_weight_provider();
std::unique_ptr<Provider> conv_provider();
std::unique_ptr<Provider> copy_provider();
std::unique_ptr<Provider> depthwise_provider();
std::unique_ptr<Provider> dropout_provider();
std::unique_ptr<Provider> eltwise_provider();
std::unique_ptr<Provider> inner_product_provider();
std::unique_ptr<Provider> inner_product_training_provider();
std::unique_ptr<Provider> loss_provider();
std::unique_ptr<Provider> lrn_grad_provider();
std::unique_ptr<Provider> lrn_provider();
std::unique_ptr<Provider> pair_loss_provider();
std::unique_ptr<Provider> pool_grad_provider();
std::unique_ptr<Provider> pool_lrn_provider();
std::unique_ptr<Provider> pool_provider();
std::unique_ptr<Provider> preprocess_provider();
std::unique_ptr<Provider> reduce_provider();
std::unique_ptr<Provider> rows_provider();
std::unique_ptr<Provider> running_statistics_provider();
std::unique_ptr<Provider> softmax_provider();
std::unique_ptr<Provider> unary_grad_provider();
std::unique_ptr<Provider> unary_provider();
std::unique_ptr<Provider> update_provider();

// Where the operands of one launch are, on the device.
class Bound {
 public:
  Bound(std::span<const Tensor> src, std::span<const Tensor> dst, const Tensor& workspace)
      : src_(src), dst_(dst), workspace_(workspace) {}

  template <class T = void>
  const T* src(std::size_t index) const {
    return static_cast<const T*>(address(src_[index]));
  }
  template <class T = void>
  T* dst(std::size_t index) const {
    return static_cast<T*>(address(dst_[index]));
  }
  template <class T = void>
  T* workspace(std::size_t first_byte = 0) const {
    return reinterpret_cast<T*>(static_cast<std::byte*>(address(workspace_)) + first_byte);
  }
  // As it is bound: inputs may then be larger than when compiled.
  const TensorDesc& src_desc(std::size_t index) const { return src_[index].desc; }

 private:
  static void* address(const Tensor& tensor) {
    return static_cast<std::byte*>(tensor.buffer->native()) + tensor.offset;
  }

  std::span<const Tensor> src_, dst_;
  const Tensor& workspace_;
};

// One launch of a function. Nothing is launched where the grid is empty.
struct Stage {
  std::string function;  // of the module: "pool_f16"
  std::array<unsigned, 3> grid{1, 1, 1}, block{256, 1, 1};
  unsigned shared_bytes = 0;
  unsigned cluster = 1;  // blocks along z that see each other's shared memory; from 9.0 on
  std::function<std::vector<std::byte>(const Bound&)> params;
};

// `make` gives the function's parameter, a plain struct, from the operands' addresses.
template <class F>
Stage stage(std::string function, std::array<unsigned, 3> grid, std::array<unsigned, 3> block, F make,
            unsigned shared_bytes = 0) {
  using Params = std::invoke_result_t<F, const Bound&>;
  static_assert(std::is_trivially_copyable_v<Params> && std::is_standard_layout_v<Params>);
  return {
      std::move(function), grid, block, shared_bytes, 1, [make = std::move(make)](const Bound& bound) {
        const Params params = make(bound);
        std::vector<std::byte> bytes(sizeof params);
        std::memcpy(bytes.data(), &params, sizeof params);
        return bytes;
      }};
}
// Blocks of 256 threads for at least so many; functions return where they are beyond.
template <class F>
Stage stage(std::string function, std::int64_t threads, F make) {
  constexpr unsigned kThreads = 256;
  const auto blocks = static_cast<unsigned>((threads + kThreads - 1) / kThreads);
  return stage(std::move(function), {blocks, 1, 1}, {kThreads, 1, 1}, std::move(make));
}

class CudaKernel : public Kernel {
 public:
  // Throws Error where the module lacks a function. `workspace_bytes` are not cleared.
  CudaKernel(const Runtime& runtime, std::string name, std::vector<Stage> stages,
             std::size_t workspace_bytes = 0);

  std::string name() const override { return name_; }
  std::size_t workspace_bytes() const override { return workspace_bytes_; }
  std::unique_ptr<Launch> bind(std::span<const Tensor> src, std::span<const Tensor> dst,
                               const Tensor& workspace) const override;

 private:
  const Runtime& runtime_;
  std::string name_;
  std::vector<Stage> stages_;
  std::vector<const maru_cuda_kernel*> functions_;  // per stage
  std::size_t workspace_bytes_;
};

// An offer which takes and gives one layout for every operand.
Offer same_layout_offer(const Provider& provider, const Call& call, Layout layout, double seconds);

// Layouts to offer for a kernel that works in the layout of its first operand: that one when it is
// known (plain or channels_last), otherwise channels_last, where there are channels, and plain.
std::vector<Layout> natural_layouts(const Call& call);
// The same of a kernel that works channels_last only where `is_last_fine`; else in plain alone.
std::vector<Layout> layouts_where(const Call& call, bool is_last_fine);
bool is_known(const Layout& layout);

// The type that all data operands and results have, f32 or f16; nothing where they differ or are
// others. Constants are f32 always and do not count.
std::optional<DType> data_type(const Call& call);
// "pool_f16": what kernels for several types are called.
std::string function_of(std::string_view name, DType dtype);

// Rough estimates, good enough to rank offers: bytes moved by the device, and one launch.
double memory_seconds(const Runtime& runtime, double bytes);

// What functions want to know of a tensor of images, in elements, be its pixels many or one. Tensors of
// less than two axes are one image of one channel.
struct Images {
  explicit Images(const TensorDesc& desc);
  std::int64_t count, channels, pixels;
  std::int64_t image_stride;    // from one image to the next
  std::int64_t channel_stride;  // from one channel to the next
  std::int64_t pixel_stride;    // from one pixel to the next
};

}  // namespace maru::cuda
