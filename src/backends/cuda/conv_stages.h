// A ConvPlan as launches, for whatever is a product of matrices: convolutions, and inner products of
// many rows.
#pragma once

#include <algorithm>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "backends/cuda/conv_plan.h"
#include "backends/cuda/provider.h"

namespace maru::cuda {

// An operand, or so many bytes into the workspace.
struct ConvAddress {
  bool in_workspace = false;
  std::size_t at = 0;

  const void* of(const Bound& bound) const {
    return in_workspace ? bound.workspace<std::byte>(at) : bound.src(at);
  }
};

// What the plan does not know. Operands: data, packed weights, biases of f32 where there are some.
struct ConvOperands {
  bool has_bias = false;
  Activation activation;
  std::int64_t src_pixel_stride = 0, dst_pixel_stride = 0;  // in elements
  ConvAddress src{false, 0}, weights{false, 1}, bias{false, 2};
  std::optional<std::size_t> dst_at = std::nullopt;  // bytes into the workspace; else the result
  std::size_t partial_at = 0;                        // likewise, of the plan's own workspace
};

// Of data of this type, by this device.
ConvPlan::Math math_of(const Runtime& runtime, DType dtype);
ConvDevice conv_device(const Runtime& runtime);
std::vector<Stage> stages_of(const ConvPlan& plan, const ConvOperands& operands);
// Packs weights that are operand 1, of this type, to so many bytes into the workspace; with a bias that
// is operand 2 and not of f32 also that. For tiles of `math`.
struct Packing {
  ConvPackParams params{};
  DType weights = DType::f32;
  ConvPlan::Math math = ConvPlan::Math::f32;
  std::size_t to = 0;
  std::optional<std::size_t> bias_to = std::nullopt;
};
Stage stage_of(const Packing& packing);
// What one after the other needs in a workspace: where each begins, and how large all are.
class Workspace {
 public:
  std::size_t add(std::size_t bytes);
  std::size_t bytes() const noexcept { return bytes_; }

 private:
  std::size_t bytes_ = 0;
};
// The best plan: as measured where kernels are tuned, else as estimated. `call` names what is computed.
ConvPlan choose_plan(const Runtime& runtime, const std::string& call,
                     const std::vector<ConvPlan>& plans, const ConvOperands& operands);

// A kernel whose operands of these places must be chunked (below), and another for when they are not.
class ChunkedKernel : public CudaKernel {
 public:
  ChunkedKernel(const Runtime& runtime, std::string name, std::vector<Stage> stages,
                std::size_t workspace_bytes, std::vector<std::size_t> operands,
                std::unique_ptr<Kernel> unaligned)
      : CudaKernel(runtime, std::move(name), std::move(stages),
                   std::max(workspace_bytes, unaligned->workspace_bytes())),
        operands_(std::move(operands)),
        unaligned_(std::move(unaligned)) {}

  // Windows may begin at any channel.
  std::unique_ptr<Launch> bind(std::span<const Tensor> src, std::span<const Tensor> dst,
                               const Tensor& workspace) const override;

 private:
  std::vector<std::size_t> operands_;
  std::unique_ptr<Kernel> unaligned_;  // takes the same constants
};

// Whether tiles can be loaded from here, in whole chunks.
bool is_chunked(const void* src, std::int64_t pixel_stride, DType dtype);

}  // namespace maru::cuda
