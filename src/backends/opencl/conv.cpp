#include "ops/conv.h"

#include <algorithm>

#include "backends/opencl/activation.h"
#include "backends/opencl/conv_plan.h"
#include "backends/opencl/packing.h"
#include "backends/opencl/provider.h"
#include "backends/opencl/tuning.h"

namespace maru::opencl {
namespace {

// Pixels of a tile of the depthwise kernel.
constexpr std::int64_t kDepthwiseTile = 7;

class TiledKernel final : public OpenclKernel {
 public:
  TiledKernel(std::string name, std::vector<Stage> stages, ConvPlan plan, bool is_half)
      : OpenclKernel(std::move(name), std::move(stages)), plan_(plan), is_half_(is_half) {}

  std::size_t packed_bytes(std::size_t operand, const Constant&) const override {
    if (operand != 1) return sizeof(float) * plan_.packed_biases();
    return packed_element(is_half_) * plan_.packed_weights();
  }
  void pack(std::size_t operand, const Constant& constant, std::span<std::byte> packed) const override {
    const std::vector<float> values = floats_of(constant.bytes());
    if (operand == 1) {
      plan_.pack_weights(values, PackedFloats(packed, is_half_));
    } else {
      plan_.pack_biases(values, as_floats(packed));
    }
  }
  std::string packed_form(std::size_t operand) const override {
    return plan_.form() + (operand == 1 ? packed_suffix(is_half_) : "");
  }

 private:
  ConvPlan plan_;
  bool is_half_;
};

class DepthwiseKernel final : public OpenclKernel {
 public:
  DepthwiseKernel(std::string name, std::vector<Stage> stages, std::size_t block, bool is_half)
      : OpenclKernel(std::move(name), std::move(stages)), block_(block), is_half_(is_half) {}

  std::size_t packed_bytes(std::size_t operand, const Constant& constant) const override {
    const auto channels = static_cast<std::size_t>(constant.desc().shape[0]);
    const std::size_t padded = (channels + block_ - 1) / block_ * block_;
    const auto taps = static_cast<std::size_t>(constant.desc().count()) / channels;
    return packed_element(halves(operand)) * taps * padded;
  }
  void pack(std::size_t operand, const Constant& constant, std::span<std::byte> packed) const override {
    const std::vector<float> values = floats_of(constant.bytes());
    const auto channels = static_cast<std::size_t>(constant.desc().shape[0]);
    const std::size_t taps = values.size() / channels;
    PackedFloats to(packed, halves(operand));
    for (std::size_t i = 0; i < to.size(); ++i) {
      const std::size_t lane = i % block_, tap = i / block_ % taps, first = i / block_ / taps * block_;
      to.set(i, first + lane < channels ? values[(first + lane) * taps + tap] : 0.0f);
    }
  }
  std::string packed_form(std::size_t operand) const override {
    return fmt::format("opencl depthwise {}{}", block_, packed_suffix(halves(operand)));
  }

 private:
  bool halves(std::size_t operand) const { return is_half_ && operand == 1; }

  std::size_t block_;
  bool is_half_;
};

bool is_depthwise(const Conv& conv, const TensorDesc& src) {
  return conv.group > 1 && conv.group == src.shape[1] && conv.group == conv.outputs;
}

class ConvProvider final : public Provider {
 public:
  std::string name() const override { return "conv.cl"; }

  void offer(const Call& call, const Runtime& runtime, std::vector<Offer>& offers) const override {
    const auto* conv = call.op.as<Conv>();
    if (conv == nullptr || !has_floats(call, runtime)) return;
    const double flops = static_cast<double>(call.dst[0].count()) * 2 *
                         static_cast<double>(call.src[1].shape.count(1, call.src[1].shape.rank()));
    const bool all_constant = std::ranges::all_of(call.constant.subspan(1), std::identity());
    const auto add = [&](Layout src, Layout dst, double seconds) {
      Offer offer = same_layout_offer(*this, call, dst, seconds);
      offer.src[0] = src;
      offer.src_window = all_constant;  // weights that are data would be windows too
      offer.dst_window = true;
      offers.push_back(std::move(offer));
    };
    const double moved = static_cast<double>(call.src[0].bytes() + call.dst[0].bytes());
    if (is_half(call) && !all_constant) return;  // conv_plain's weights are floats
    if (all_constant) {                          // weights are packed once, at load
      const Layout blocked = Layout::blocked(runtime.block);
      const bool is_first = conv->group == 1 && call.src[0].shape[1] <= 3;
      const Layout from = is_first ? Layout::plain() : blocked;
      if (is_depthwise(*conv, call.src[0])) {
        add(blocked, blocked, memory_seconds(moved));
      } else {
        const double computed = flops * merged_groups(*conv, call.src[0].shape[1], runtime.block);
        add(from, blocked, memory_seconds(0) + computed / rate(runtime));
      }
    }
    constexpr double kPlainSlower = 50;
    add(Layout::plain(), Layout::plain(), memory_seconds(moved) + flops * kPlainSlower / rate(runtime));
  }

  std::unique_ptr<Kernel> compile(const Call& call, const Runtime& runtime) const override {
    const Conv& conv = *call.op.as<Conv>();
    if (call.dst[0].layout.kind == Layout::Kind::plain) return plain(conv, call, runtime);
    if (is_depthwise(conv, call.src[0])) return depthwise(conv, call, runtime);
    return tiled(conv, call, runtime);
  }

 private:
  // Flops a second, roughly: of a core of 3 GHz by the width of its vectors (measured: 100e9 for 16),
  // and of a small GPU's unit.
  static double rate(const Runtime& runtime) {
    const double of_unit = runtime.is_cpu ? 6e9 * runtime.block : 30e9;
    return of_unit * runtime.compute_units;
  }

  static std::vector<Argument> operands(const Conv& conv, const Call& call, const Operand& weights) {
    return {src(0),
            dst(0),
            weights,
            conv.bias ? src(2) : src(1),
            cl_int{conv.bias},
            static_cast<cl_ulong>(call.src[0].image_stride()),
            static_cast<cl_ulong>(call.dst[0].image_stride())};
  }

  static void append(std::vector<Argument>& arguments, std::initializer_list<std::int64_t> values) {
    for (const std::int64_t value : values) arguments.emplace_back(static_cast<cl_int>(value));
  }

  static void append(std::vector<Argument>& arguments, const Activation& activation) {
    arguments.insert(arguments.end(), {activation.alpha, activation.scale, activation.shift});
  }

  static void append_geometry(std::vector<Argument>& arguments, const Conv& conv, const Call& call) {
    const Window& window = conv.window;
    const Shape &from = call.src[0].shape, &to = call.dst[0].shape;
    append(arguments,
           {from[2], from[3], window.kernel[0], window.kernel[1], window.stride[0], window.stride[1],
            window.pad[0], window.pad[1], window.dilation[0], window.dilation[1], to[2], to[3]});
  }

  static std::unique_ptr<Kernel> tiled(const Conv& conv, const Call& call, const Runtime& runtime) {
    const std::vector<ConvPlan> plans = ConvPlan::candidates(conv, call, runtime);
    std::size_t best = 0;
    if (runtime.tune && plans.size() > 1) {
      Trials trials{
          fmt::format("{} {} {}", call.op.key(), call.src[0].str(), call.dst[0].str()), {}, {}, {}, 0};
      std::array<std::size_t, 2> most{};
      for (const ConvPlan& plan : plans) {
        trials.names.push_back(plan.name());
        most = {std::max(most[0], plan.packed_weights()), std::max(most[1], plan.packed_biases())};
      }
      const auto whole = [](const TensorDesc& desc) {
        return static_cast<std::size_t>(desc.image_stride() * desc.shape[0]) * size_of(desc.dtype);
      };
      trials.src = {whole(call.src[0]), most[0] * packed_element(is_half(call)),
                    most[1] * sizeof(float)};
      trials.dst = {whole(call.dst[0])};
      best = fastest(runtime, trials, [&](std::size_t i) {
        return std::vector{stage_of(plans[i], conv, call, runtime)};
      });
    }
    const ConvPlan& plan = plans[best];
    return std::make_unique<TiledKernel>(plan.name(), std::vector{stage_of(plan, conv, call, runtime)},
                                         plan, is_half(call));
  }

  static Stage stage_of(const ConvPlan& plan, const Conv& conv, const Call& call,
                        const Runtime& runtime) {
    const Activation activation = Activation::of(conv.activation);
    const cl_program program = runtime.program(
        "conv", fmt::format("-DP={} -DB={} {} {}{}", plan.pixels, plan.blocks, activation.option,
                            large_option(runtime), half_option(call)));
    std::vector<Argument> arguments = operands(conv, call, packed_src(1, call));
    append(arguments, {plan.inputs, plan.outputs, plan.out_tiles, plan.pixel_tiles, plan.groups});
    append(arguments, activation);
    if (plan.function == ConvPlan::Function::flat) {
      append(arguments, {call.dst[0].shape[2] * call.dst[0].shape[3]});
    } else {
      append(arguments, {plan.row_tiles});
      append_geometry(arguments, conv, call);
    }
    const std::int64_t items = std::int64_t{plan.pixel_tiles} * plan.out_tiles * plan.groups;
    return large_stage(runtime, program, plan.function_name(), items, 1, call.dst[0].shape[0],
                       std::move(arguments));
  }

  static std::unique_ptr<Kernel> depthwise(const Conv& conv, const Call& call, const Runtime& runtime) {
    const Activation activation = Activation::of(conv.activation);
    const cl_program program = runtime.program(
        "conv_depthwise", fmt::format("-DP={} {} {}{}", kDepthwiseTile, activation.option,
                                      large_option(runtime), half_option(call)));
    const Shape& to = call.dst[0].shape;
    const std::int64_t row_tiles = (to[3] + kDepthwiseTile - 1) / kDepthwiseTile;
    const std::int64_t blocks = (to[1] + runtime.block - 1) / runtime.block;
    std::vector<Argument> arguments = operands(conv, call, packed_src(1, call));
    append(arguments, {to[1]});
    append(arguments, activation);
    // A processor wants work items that outweigh what each costs, and still some for each core.
    constexpr std::int64_t kTilesOfItem = 16;
    const std::int64_t item_tiles = runtime.is_cpu ? row_tiles : 1;
    const std::int64_t item_rows =
        runtime.is_cpu ? std::clamp<std::int64_t>(kTilesOfItem / row_tiles, 1, to[2]) : 1;
    const std::int64_t row_parts = (row_tiles + item_tiles - 1) / item_tiles;
    const std::int64_t parts = (to[2] + item_rows - 1) / item_rows;
    append(arguments, {row_tiles, item_tiles, item_rows});
    append_geometry(arguments, conv, call);
    return std::make_unique<DepthwiseKernel>(
        "conv_depthwise",
        std::vector{large_stage(runtime, program, "conv_depthwise", row_parts * parts * blocks, 1,
                                to[0], std::move(arguments))},
        static_cast<std::size_t>(runtime.block), is_half(call));
  }

  static std::unique_ptr<Kernel> plain(const Conv& conv, const Call& call, const Runtime& runtime) {
    const Activation activation = Activation::of(conv.activation);
    const cl_program program =
        runtime.program("conv_plain", activation.option + " -DACTIVATED=float" + half_option(call));
    const Shape& to = call.dst[0].shape;
    std::vector<Argument> arguments = operands(conv, call, src(1));
    append(arguments, {call.src[0].shape[1] / conv.group, to[1] / conv.group});
    append(arguments, activation);
    append_geometry(arguments, conv, call);
    return std::make_unique<OpenclKernel>(
        "conv_plain",
        std::vector{stage(program, "conv_plain", to[2] * to[3], to[1], to[0], std::move(arguments))});
  }
};

}  // namespace

std::unique_ptr<Provider> conv_provider() { return std::make_unique<ConvProvider>(); }

}  // namespace maru::opencl
