#include "ops/inner_product.h"

#include <algorithm>

#include "backends/cuda/activation.h"
#include "backends/cuda/conv_stages.h"
#include "backends/cuda/kernels/inner_product.h"
#include "backends/cuda/packing.h"

namespace maru::cuda {
namespace {

// Rows from which tiles of a matrix product are the faster way: the other one takes nearly as long for
// each row as for the first.
constexpr std::int64_t kManyRows = 2;

// How the matrix is read and laid out. Images in channels_last are taken as they lie: the matrix
// follows.
struct InnerShape {
  InnerShape(const InnerProduct& ip, const Call& call) {
    const TensorDesc& data = call.src[0];
    const std::size_t axis = data.shape.axis(ip.axis);
    rows = data.shape.count(0, axis);
    length = data.shape.count(axis, data.shape.rank());
    outputs = ip.outputs;
    row_stride = length;
    transpose = ip.transpose;
    if (data.shape.rank() != 4 || axis != 1) return;
    row_stride = data.image_stride();
    if (data.layout.kind == Layout::Kind::channels_last) channels = data.shape[1];
  }

  // Outputs x elements as they lie in a row of data.
  std::vector<float> ordered(std::span<const float> weights) const {
    std::vector<float> result(weights.size());
    const std::int64_t pixels = length / channels;
    float* to = result.data();
    for (std::int64_t output = 0; output < outputs; ++output) {
      for (std::int64_t pixel = 0; pixel < pixels; ++pixel) {
        for (std::int64_t channel = 0; channel < channels; ++channel) {
          const std::int64_t element = channel * pixels + pixel;
          *to++ = weights[static_cast<std::size_t>(transpose ? element * outputs + output
                                                             : output * length + element)];
        }
      }
    }
    return result;
  }

  // As one pixel of many channels for each row.
  ConvShape as_conv() const {
    ConvShape shape;
    shape.images = static_cast<int>(rows);
    shape.channels = static_cast<int>(length);
    shape.outputs = static_cast<int>(outputs);
    return shape;
  }

  std::int64_t rows = 0, length = 0, outputs = 0, row_stride = 0;
  std::int64_t channels = 1;  // that lie side by side
  bool transpose = false;
};

// The function for few rows; rows of weights lie so many elements apart.
Stage rows_stage(const InnerShape& shape, DType dtype, const ConvOperands& operands,
                 std::int64_t weight_stride) {
  InnerProductParams params{};
  params.activation = operands.activation;
  params.src_row_stride = shape.row_stride;
  params.weight_row_stride = weight_stride;
  params.rows = static_cast<std::int32_t>(shape.rows);
  params.length = static_cast<std::int32_t>(shape.length);
  params.outputs = static_cast<std::int32_t>(shape.outputs);
  const auto bind = [params, has_bias = operands.has_bias](const Bound& bound) {
    InnerProductParams bound_params = params;
    bound_params.src = bound.src(0);
    bound_params.weights = bound.src(1);
    bound_params.bias = has_bias ? bound.src<float>(2) : nullptr;
    bound_params.dst = bound.dst(0);
    return bound_params;
  };
  const bool is_one = shape.rows == 1;
  constexpr std::int64_t kWarps = kInnerThreads / 32;
  return stage(function_of("inner_product", dtype) + (is_one ? "_1" : ""),
               {static_cast<unsigned>((shape.outputs + kWarps - 1) / kWarps),
                static_cast<unsigned>(is_one ? 1 : (shape.rows + kInnerRows - 1) / kInnerRows), 1},
               {kInnerThreads, 1, 1}, bind);
}

// By tiles where there is a plan, else row by row.
class InnerProductKernel final : public CudaKernel {
 public:
  InnerProductKernel(const Runtime& runtime, const InnerShape& shape, DType dtype,
                     const ConvOperands& operands)
      : CudaKernel(runtime, "inner_product",
                   {rows_stage(shape, dtype, operands, padded(shape, dtype))}),
        shape_(shape),
        dtype_(dtype) {}
  InnerProductKernel(const Runtime& runtime, const InnerShape& shape, DType dtype,
                     const ConvOperands& operands, const ConvPlan& plan)
      : CudaKernel(runtime, "inner_product by " + plan.name(), stages_of(plan, operands),
                   plan.workspace_bytes()),
        shape_(shape),
        dtype_(dtype),
        plan_(plan),
        unaligned_(std::make_unique<CudaKernel>(
            runtime, "inner_product",
            std::vector{rows_stage(
                shape, dtype, operands,
                static_cast<std::int64_t>(plan.packed_bytes() / size_of(dtype)) / shape.outputs)})) {}

  std::size_t packed_bytes(std::size_t operand, const Constant& constant) const override {
    if (operand != 1) return CudaKernel::packed_bytes(operand, constant);
    return plan_ ? plan_->packed_bytes()
                 : static_cast<std::size_t>(shape_.outputs * padded(shape_, dtype_)) * size_of(dtype_);
  }

  void pack(std::size_t operand, const Constant& constant, std::span<std::byte> packed) const override {
    if (operand != 1) return CudaKernel::pack(operand, constant, packed);
    const std::vector<float> ordered = shape_.ordered(floats_of(constant.bytes()));
    if (plan_) return plan_->pack(ordered, packed);
    std::ranges::fill(packed, std::byte{0});
    const auto length = static_cast<std::size_t>(shape_.length),
               stride = static_cast<std::size_t>(padded(shape_, dtype_));
    for (std::size_t output = 0; output < static_cast<std::size_t>(shape_.outputs); ++output) {
      const std::span<const float> row = std::span(ordered).subspan(output * length, length);
      if (dtype_ == DType::f16) {
        to_halves(row, as_halves(packed).subspan(output * stride, length));
      } else {
        std::ranges::copy(row, as_floats(packed).subspan(output * stride).begin());
      }
    }
  }

  std::string packed_form(std::size_t operand) const override {
    if (operand != 1) return CudaKernel::packed_form(operand);
    const std::string order =
        fmt::format(" {}{}", shape_.channels, shape_.transpose ? " transposed" : "");
    return (plan_ ? plan_->form() : fmt::format("cuda inner product {}", to_string(dtype_))) + order;
  }

  std::unique_ptr<Launch> bind(std::span<const Tensor> src, std::span<const Tensor> dst,
                               const Tensor& workspace) const override {
    const bool is_fine =
        !plan_ || is_chunked(Bound(src, dst, workspace).src(0), shape_.row_stride, dtype_);
    return is_fine ? CudaKernel::bind(src, dst, workspace) : unaligned_->bind(src, dst, workspace);
  }

 private:
  // Elements of a row, filled up to whole chunks.
  static std::int64_t padded(const InnerShape& shape, DType dtype) {
    const auto lanes = static_cast<std::int64_t>(kChunkBytes / size_of(dtype));
    return (shape.length + lanes - 1) / lanes * lanes;
  }

  InnerShape shape_;
  DType dtype_;
  std::optional<ConvPlan> plan_;
  std::unique_ptr<CudaKernel> unaligned_;  // takes the same weights
};

class InnerProductProvider final : public Provider {
 public:
  std::string name() const override { return "inner_product"; }

  void offer(const Call& call, const Runtime& runtime, std::vector<Offer>& offers) const override {
    const auto* ip = call.op.as<InnerProduct>();
    if (ip == nullptr || !data_type(call)) return;
    // Weights are packed once, at load.
    if (!std::ranges::all_of(call.constant.subspan(1), std::identity())) return;
    const Shape& shape = call.src[0].shape;
    constexpr std::int64_t kMostRows = std::int64_t{65535} * kInnerRows;  // CUDA's limit of a grid
    if (InnerShape(*ip, call).rows > kMostRows) return;
    const bool has_images = shape.rank() == 4 && shape.axis(ip->axis) == 1;
    const double weights =
        static_cast<double>(call.src[1].count()) * static_cast<double>(size_of(call.src[0].dtype));
    const auto add = [&](Layout layout, bool window) {
      offers.push_back(
          same_layout_offer(*this, call, Layout::plain(), memory_seconds(runtime, weights)));
      offers.back().src[0] = layout;
      offers.back().src_window = window;
    };
    // In windows of channels_last, only a single pixel lies together.
    if (has_images) add(Layout::channels_last(), shape.count(2, 4) == 1);
    add(Layout::plain(), has_images);
  }

  std::unique_ptr<Kernel> compile(const Call& call, const Offer&,
                                  const Runtime& runtime) const override {
    const InnerProduct& ip = *call.op.as<InnerProduct>();
    const DType dtype = *data_type(call);
    const InnerShape shape(ip, call);
    const ConvOperands operands{ip.bias, activation_of(ip.activation), shape.row_stride, shape.outputs};
    const ConvPlan::Math math = math_of(runtime, dtype);
    const ConvShape conv = shape.as_conv();
    if (shape.rows < kManyRows || !ConvPlan::takes(conv, math, ConvPlan::Source::channels) ||
        !is_chunked(nullptr, shape.row_stride, dtype)) {
      return std::make_unique<InnerProductKernel>(runtime, shape, dtype, operands);
    }
    const auto plans =
        ConvPlan::candidates(conv, math, ConvPlan::Source::channels, conv_device(runtime));
    const ConvPlan plan = choose_plan(
        runtime, fmt::format("{} {} {}", call.op.key(), call.src[0].str(), call.dst[0].str()), plans,
        operands);
    return std::make_unique<InnerProductKernel>(runtime, shape, dtype, operands, plan);
  }
};

}  // namespace

std::unique_ptr<Provider> inner_product_provider() { return std::make_unique<InnerProductProvider>(); }

}  // namespace maru::cuda
