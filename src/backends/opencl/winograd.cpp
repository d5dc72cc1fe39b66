// Winograd's convolution: a quarter of the multiplications of a 3x3, for the price of moving the image
// twice more. Where it pays is a matter of measurement; see winograd_pays().
#include <algorithm>
#include <array>

#include "backends/opencl/activation.h"
#include "backends/opencl/packing.h"
#include "backends/opencl/provider.h"
#include "ops/conv.h"

namespace maru::opencl {
namespace {

constexpr int kPlanes = 36, kTile = 4;
constexpr int kPixels = 7, kBlocks = 2;  // of conv.cl's tiles

std::int64_t tiles_for(std::int64_t n, std::int64_t unit) { return (n + unit - 1) / unit; }

struct WinogradPlan {
  WinogradPlan(const Conv& conv, const Call& call, const Runtime& runtime) {
    const Shape& to = call.dst[0].shape;
    block = runtime.block;
    inputs = call.src[0].shape[1];
    outputs = conv.outputs;
    across = tiles_for(to[3], kTile);
    down = tiles_for(to[2], kTile);
    tiles = across * down * to[0];
    out_tiles = tiles_for(outputs, kBlocks * block);
    // Planes of some tiles at a time, so that they stay in the processor's cache.
    constexpr std::int64_t kCacheBytes = 6 << 20;
    const std::int64_t bytes_of_tile = kPlanes * (inputs + outputs) * std::int64_t{sizeof(float)};
    strips = std::clamp<std::int64_t>(tiles * bytes_of_tile / kCacheBytes, 1, tiles / kPixels);
  }

  std::int64_t first_tile(std::int64_t strip) const { return strip * tiles / strips; }
  // Of the planes of one strip, in bytes.
  std::size_t src_bytes() const { return plane_bytes(inputs); }
  std::size_t dst_bytes() const { return plane_bytes(outputs); }
  std::size_t plane_bytes(std::int64_t channels) const {
    const std::int64_t most = tiles_for(tiles, strips);
    return static_cast<std::size_t>(kPlanes * channels * most) * sizeof(float);
  }
  std::size_t packed_weights() const {
    return static_cast<std::size_t>(kPlanes * out_tiles * kBlocks * block * inputs);
  }

  std::int64_t block, inputs, outputs, across, down, tiles, out_tiles, strips;
};

// One filter as 36 weights: G g G^T.
std::array<float, kPlanes> transformed(const float* filter) {
  constexpr double kG[6][3] = {{1.0 / 4, 0, 0},
                               {-1.0 / 6, -1.0 / 6, -1.0 / 6},
                               {-1.0 / 6, 1.0 / 6, -1.0 / 6},
                               {1.0 / 24, 1.0 / 12, 1.0 / 6},
                               {1.0 / 24, -1.0 / 12, 1.0 / 6},
                               {0, 0, 1}};
  std::array<float, kPlanes> planes{};
  for (int y = 0; y < 6; ++y) {
    double rows[3];
    for (int x = 0; x < 3; ++x) {
      rows[x] = kG[y][0] * filter[x] + kG[y][1] * filter[3 + x] + kG[y][2] * filter[6 + x];
    }
    for (int x = 0; x < 6; ++x) {
      const double sum = rows[0] * kG[x][0] + rows[1] * kG[x][1] + rows[2] * kG[x][2];
      planes[static_cast<std::size_t>(y) * 6 + static_cast<std::size_t>(x)] = static_cast<float>(sum);
    }
  }
  return planes;
}

class WinogradKernel final : public OpenclKernel {
 public:
  WinogradKernel(std::vector<Stage> stages, const WinogradPlan& plan)
      : OpenclKernel(fmt::format("winograd {}x{}", kPixels, kBlocks * plan.block), std::move(stages),
                     plan.src_bytes() + plan.dst_bytes()),
        plan_(plan) {}

  std::size_t packed_bytes(std::size_t operand, const Constant& constant) const override {
    if (operand != 1) return OpenclKernel::packed_bytes(operand, constant);
    return plan_.packed_weights() * sizeof(float);
  }
  void pack(std::size_t operand, const Constant& constant, std::span<std::byte> packed) const override {
    if (operand != 1) return OpenclKernel::pack(operand, constant, packed);
    const std::vector<float> filters = floats_of(constant.bytes());
    const std::span<float> to = as_floats(packed);
    std::ranges::fill(to, 0.0f);
    const auto lanes = static_cast<std::size_t>(kBlocks * plan_.block);
    const auto inputs = static_cast<std::size_t>(plan_.inputs);
    const std::size_t plane = to.size() / kPlanes;
    for (std::size_t i = 0; i < filters.size() / 9; ++i) {
      const std::size_t output = i / inputs, input = i % inputs;
      const std::array<float, kPlanes> weights = transformed(&filters[i * 9]);
      float* first = &to[(output / lanes * inputs + input) * lanes + output % lanes];
      for (std::size_t k = 0; k < kPlanes; ++k) first[k * plane] = weights[k];
    }
  }
  std::string packed_form(std::size_t operand) const override {
    if (operand != 1) return OpenclKernel::packed_form(operand);
    return fmt::format("opencl winograd {} of {}", kBlocks, plan_.block);
  }

 private:
  WinogradPlan plan_;
};

class WinogradProvider final : public Provider {
 public:
  std::string name() const override { return "winograd.cl"; }

  void offer(const Call& call, const Runtime& runtime, std::vector<Offer>& offers) const override {
    const auto* conv = call.op.as<Conv>();
    if (conv == nullptr || !has_floats(call, runtime) || !winograd_pays(*conv, call, runtime)) return;
    for (std::size_t i = 1; i < call.src.size(); ++i) {
      if (!call.constant[i]) return;  // filters are transformed once, at load
    }
    const double flops = static_cast<double>(call.dst[0].count()) * 2 *
                         static_cast<double>(call.src[1].shape.count(1, call.src[1].shape.rank()));
    // Counted as the direct convolution's: measured 530 to 630 GFLOP/s on two cores with 16 floats a
    // vector, where conv.cl has 200 (bench/kernels/conv with GoogLeNet).
    const double rate = 14e9 * runtime.block * runtime.compute_units;
    Offer offer = same_layout_offer(*this, call, Layout::blocked(runtime.block),
                                    memory_seconds(0) + flops / rate);
    offer.src_window = offer.dst_window = true;
    offer.prepare_seconds = static_cast<double>(call.src[1].bytes()) / 100e6;
    offers.push_back(std::move(offer));
  }

  std::unique_ptr<Kernel> compile(const Call& call, const Runtime& runtime) const override {
    const Conv& conv = *call.op.as<Conv>();
    const WinogradPlan plan(conv, call, runtime);
    const Activation activation = Activation::of(conv.activation), none = Activation::of(std::nullopt);
    const std::string large = large_option(runtime);
    const cl_program outer =
        runtime.program("winograd", activation.option + " " + large + half_option(call));
    const cl_program inner = runtime.program(
        "conv", fmt::format("-DP={} -DB={} {} {}", kPixels, kBlocks, none.option, large));
    const auto number = [](std::int64_t value) { return static_cast<cl_int>(value); };
    const Shape &from = call.src[0].shape, &to = call.dst[0].shape;
    const Operand src_planes = workspace(sizeof(float));
    const Operand dst_planes = workspace(sizeof(float), plan.src_bytes());
    const cl_ulong src_stride = static_cast<cl_ulong>(call.src[0].image_stride());
    const cl_ulong dst_stride = static_cast<cl_ulong>(call.dst[0].image_stride());
    const std::int64_t in_blocks = plan.inputs / plan.block, out_blocks = plan.outputs / plan.block;

    std::vector<Stage> stages;
    for (std::int64_t strip = 0; strip < plan.strips; ++strip) {
      const std::int64_t first = plan.first_tile(strip), tiles = plan.first_tile(strip + 1) - first;
      const std::int64_t pixel_tiles = tiles_for(tiles, kPixels);
      stages.push_back(
          large_stage(runtime, outer, "winograd_src", tiles * in_blocks, 1, 1,
                      {src(0), src_planes, src_stride, number(in_blocks), number(tiles), number(first),
                       number(plan.across), number(plan.down), number(from[2]), number(from[3]),
                       number(conv.window.pad[0]), number(conv.window.pad[1])}));
      stages.push_back(large_stage(
          runtime, inner, "conv_flat", pixel_tiles * plan.out_tiles * kPlanes, 1, 1,
          {src_planes, dst_planes, src(1), src(1), cl_int{0}, cl_ulong{0}, cl_ulong{0},
           number(plan.inputs), number(plan.outputs), number(plan.out_tiles), number(pixel_tiles),
           cl_int{kPlanes}, none.alpha, none.scale, none.shift, number(tiles)}));
      stages.push_back(large_stage(
          runtime, outer, "winograd_dst", tiles * out_blocks, 1, 1,
          {dst_planes, dst(0), conv.bias ? src(2) : src(1), cl_int{conv.bias}, dst_stride,
           activation.alpha, activation.scale, activation.shift, number(out_blocks), number(tiles),
           number(first), number(plan.across), number(plan.down), number(to[2]), number(to[3])}));
    }
    return std::make_unique<WinogradKernel>(std::move(stages), plan);
  }

 private:
  // On images below 28 pixels there are too few tiles to share a filter that has grown to four times
  // its size. Not tried on GPUs.
  static bool winograd_pays(const Conv& conv, const Call& call, const Runtime& runtime) {
    constexpr std::int64_t kLeastExtent = 28, kLeastChannels = 32;
    using Pair = std::array<std::int64_t, 2>;
    const Window& window = conv.window;
    const Shape& out = call.dst[0].shape;
    const std::int64_t inputs = call.src[0].shape[1];
    return runtime.is_cpu && conv.group == 1 && window.kernel == Pair{3, 3} &&
           window.stride == Pair{1, 1} && window.dilation == Pair{1, 1} && out[2] >= kLeastExtent &&
           out[3] >= kLeastExtent && inputs >= kLeastChannels && inputs % runtime.block == 0 &&
           conv.outputs >= kLeastChannels && conv.outputs % runtime.block == 0;
  }
};

}  // namespace

std::unique_ptr<Provider> winograd_provider() { return std::make_unique<WinogradProvider>(); }

}  // namespace maru::opencl
