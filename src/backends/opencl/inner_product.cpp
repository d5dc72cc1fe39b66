#include "ops/inner_product.h"

#include <algorithm>

#include "backends/opencl/activation.h"
#include "backends/opencl/packing.h"
#include "backends/opencl/provider.h"

namespace maru::opencl {
namespace {

// How the matrix is cut and laid out. Images in blocks are taken as they lie: the matrix follows them.
struct InnerPlan {
  InnerPlan(const InnerProduct& ip, const Call& call, const Runtime& runtime) {
    const TensorDesc& data = call.src[0];
    const std::size_t axis = data.shape.axis(ip.axis);
    block = static_cast<std::size_t>(runtime.block);
    outputs = static_cast<std::size_t>(ip.outputs);
    rows = static_cast<std::size_t>(data.shape.count(0, axis));
    length = static_cast<std::size_t>(data.shape.count(axis, data.shape.rank()));
    transpose = ip.transpose;
    elements = length;
    stride = length;
    if (data.shape.rank() == 4 && axis == 1) {
      channels = static_cast<std::size_t>(data.shape[1]);
      data_block = static_cast<std::size_t>(data.layout.block);
      stride = static_cast<std::size_t>(data.image_stride());
      elements = (channels + data_block - 1) / data_block * data_block * (length / channels);
    }
    // One row is bound by memory; more share the weights that a work item has read.
    tile_rows = rows == 1 ? 1 : rows <= 4 || block < 16 ? 4 : 8;
    blocks = 2;
    tiles = (outputs + lanes() - 1) / lanes();
  }

  std::size_t lanes() const { return blocks * block; }

  void pack_weights(std::span<const std::byte> bytes, PackedFloats packed) const {
    std::size_t next = 0;
    std::vector<const std::byte*> columns(lanes());
    const std::size_t step = sizeof(float) * (transpose ? outputs : 1);
    for (std::size_t tile = 0; tile < tiles; ++tile) {
      for (std::size_t lane = 0; lane < lanes(); ++lane) {
        const std::size_t output = tile * lanes() + lane;
        const std::size_t first = output * (transpose ? 1 : length);
        columns[lane] = output < outputs ? bytes.data() + first * sizeof(float) : nullptr;
      }
      for (std::size_t i = 0; i < elements; ++i) {
        const std::size_t source = source_of(i);
        for (const std::byte* column : columns) {
          const bool is_there = column != nullptr && source < length;
          packed.set(next++, is_there ? float_at(column + source * step) : 0.0f);
        }
      }
    }
  }

  // Which element of a plain row stands at place i of one as it lies; `length` for padding.
  std::size_t source_of(std::size_t i) const {
    if (data_block == 1) return i;
    const std::size_t pixels = length / channels;
    const std::size_t channel = i / data_block / pixels * data_block + i % data_block;
    return channel < channels ? channel * pixels + i / data_block % pixels : length;
  }

  std::size_t block, outputs, rows, length, elements, stride;
  std::size_t channels = 1, data_block = 1;
  std::size_t tile_rows, blocks, tiles;
  bool transpose;
};

class InnerProductKernel final : public OpenclKernel {
 public:
  InnerProductKernel(std::string name, std::vector<Stage> stages, InnerPlan plan, bool is_half)
      : OpenclKernel(std::move(name), std::move(stages)), plan_(plan), is_half_(is_half) {}

  std::size_t packed_bytes(std::size_t operand, const Constant&) const override {
    const std::size_t columns = plan_.tiles * plan_.lanes();
    if (operand != 1) return sizeof(float) * columns;
    return packed_element(is_half_) * columns * plan_.elements;
  }
  void pack(std::size_t operand, const Constant& constant, std::span<std::byte> packed) const override {
    if (operand == 1) return plan_.pack_weights(constant.bytes(), {packed, is_half_});
    const std::vector<float> biases = floats_of(constant.bytes());
    const std::span<float> to = as_floats(packed);
    std::ranges::fill(std::ranges::copy(biases, to.begin()).out, to.end(), 0.0f);
  }
  std::string packed_form(std::size_t operand) const override {
    return fmt::format("opencl inner product {} of {} from {}{}{}", plan_.lanes(), plan_.elements,
                       plan_.data_block, plan_.transpose ? " transposed" : "",
                       packed_suffix(is_half_ && operand == 1));
  }

 private:
  InnerPlan plan_;
  bool is_half_;
};

class InnerProductProvider final : public Provider {
 public:
  std::string name() const override { return "inner_product.cl"; }

  void offer(const Call& call, const Runtime& runtime, std::vector<Offer>& offers) const override {
    const auto* ip = call.op.as<InnerProduct>();
    if (ip == nullptr || !has_floats(call, runtime)) return;
    for (std::size_t i = 1; i < call.src.size(); ++i) {
      if (!call.constant[i]) return;  // weights are packed once, at load
    }
    const double seconds = memory_seconds(static_cast<double>(call.src[1].bytes()));
    const Shape& shape = call.src[0].shape;
    const bool has_images = shape.rank() == 4 && shape.axis(ip->axis) == 1;
    const auto add = [&](Layout layout) {
      offers.push_back(same_layout_offer(*this, call, Layout::plain(), seconds));
      offers.back().src[0] = layout;
      offers.back().src_window = has_images;
    };
    add(Layout::plain());
    if (has_images) add(Layout::blocked(runtime.block));
  }

  std::unique_ptr<Kernel> compile(const Call& call, const Runtime& runtime) const override {
    const InnerProduct& ip = *call.op.as<InnerProduct>();
    const InnerPlan plan(ip, call, runtime);
    const Activation activation = Activation::of(ip.activation);
    const cl_program program = runtime.program(
        "inner_product", fmt::format("-DP={} -DB={} {} {}{}", plan.tile_rows, plan.blocks,
                                     activation.option, large_option(runtime), half_option(call)));
    std::vector<Argument> arguments{src(0),
                                    dst(0),
                                    packed_src(1, call),
                                    ip.bias ? src(2) : src(1),
                                    cl_int{ip.bias},
                                    static_cast<cl_ulong>(plan.stride),
                                    static_cast<cl_int>(plan.elements),
                                    static_cast<cl_int>(plan.outputs),
                                    static_cast<cl_int>(plan.rows),
                                    activation.alpha,
                                    activation.scale,
                                    activation.shift};
    const std::size_t helpers = runtime.is_cpu ? 1 : kGroup;
    const std::size_t row_tiles = (plan.rows + plan.tile_rows - 1) / plan.tile_rows;
    Stage one = large_stage(runtime, program, "inner_product",
                            static_cast<std::int64_t>(plan.tiles * row_tiles * helpers), 1, 1,
                            std::move(arguments));
    return std::make_unique<InnerProductKernel>(
        fmt::format("inner_product {}x{}", plan.tile_rows, plan.lanes()), std::vector{std::move(one)},
        plan, is_half(call));
  }
};

}  // namespace

std::unique_ptr<Provider> inner_product_provider() { return std::make_unique<InnerProductProvider>(); }

}  // namespace maru::opencl
