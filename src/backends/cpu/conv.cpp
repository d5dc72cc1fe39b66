#include "ops/conv.h"

#include "backends/cpu/onednn.h"
#include "base/error.h"

namespace maru::cpu {
namespace {

using Tag = dnnl::memory::format_tag;

// Newer releases of oneDNN (3.7, for one) have no Winograd any more. Asked once, with a layer that all
// others have a kernel for.
bool has_winograd() {
  static const bool has = [] {
    const auto image = memory_desc(Shape{1, 64, 56, 56}, Tag::nChw16c);
    const auto weight = memory_desc(Shape{64, 64, 3, 3}, Tag::any);
    const dnnl::memory::dims one{1, 1}, zero{0, 0};
    try {
      describe<dnnl::convolution_forward>(attributes(std::nullopt), dnnl::prop_kind::forward_inference,
                                          dnnl::algorithm::convolution_winograd, image, weight,
                                          dnnl::memory::desc(), image, one, zero, one, one);
      return true;
    } catch (const dnnl::error&) {
      return false;
    }
  }();
  return has;
}

bool is_depthwise(const Conv& conv, const TensorDesc& src) {
  return conv.group > 1 && conv.group == src.shape[1] && conv.group == conv.outputs;
}

// Grouped weights have an axis of their own for the group.
Shape weight_shape(const Conv& conv, const Shape& weight) {
  if (conv.group == 1) return weight;
  return {conv.group, weight[0] / conv.group, weight[1], weight[2], weight[3]};
}

class ConvKernel final : public OnednnKernel {
 public:
  ConvKernel(const Conv& conv, const dnnl::convolution_forward::primitive_desc& pd,
             std::vector<Argument> arguments, std::int64_t images)
      : OnednnKernel(dnnl::convolution_forward(pd), pd.impl_info_str(), workspace_of(pd),
                     std::move(arguments), images),
        conv_(conv) {}

 protected:
  dnnl::memory::desc source_desc(std::size_t operand, const Constant& constant) const override {
    if (operand != 1) return OnednnKernel::source_desc(operand, constant);
    const Shape shape = weight_shape(conv_, constant.desc().shape);
    return memory_desc(shape, conv_.group == 1 ? Tag::abcd : Tag::abcde);
  }

 private:
  Conv conv_;
};

class ConvProvider final : public Provider {
 public:
  explicit ConvProvider(dnnl::algorithm algorithm) : algorithm_(algorithm) {}

  std::string name() const override {
    return algorithm_ == dnnl::algorithm::convolution_winograd ? "oneDNN Winograd convolution"
                                                               : "oneDNN convolution";
  }

  void offer(const Call& call, const Cpu& cpu, std::vector<Offer>& offers) const override {
    const auto* conv = call.op.as<Conv>();
    if (conv == nullptr || !all_f32(call)) return;
    if (conv->activation && !onednn_eltwise(*conv->activation)) return;
    for (std::size_t i = 1; i < call.src.size(); ++i) {
      if (!call.constant[i]) return;  // weights are packed once, at load
    }
    const Layout blocked = Layout::blocked(cpu.block);
    const double flops = static_cast<double>(call.dst[0].count()) * 2 *
                         static_cast<double>(call.src[1].shape.count(1, call.src[1].shape.rank()));
    const auto add = [&](Layout src, Layout dst, double rate, double prepare_seconds) {
      Offer offer = same_layout_offer(*this, call, dst, compute_seconds(cpu, flops, rate));
      offer.src[0] = src;
      offer.src_window = offer.dst_window = true;
      offer.prepare_seconds = prepare_seconds;
      offers.push_back(std::move(offer));
    };
    // Rates of one thread, measured on Zen 4 with oneDNN 2.6.3 over GoogLeNet's layers.
    constexpr double kBlockedRate = 110e9, kPlainRate = 40e9, kWinogradRate = 260e9;
    if (algorithm_ == dnnl::algorithm::convolution_winograd) {
      if (!winograd_pays(*conv, call, cpu)) return;
      // Packing transforms every filter, slowly: 54 MB/s of weights.
      const double prepare = static_cast<double>(call.src[1].bytes()) / 54e6;
      return add(blocked, blocked, kWinogradRate, prepare);
    }
    if (cpu.block > 1 && blocks_fit(*conv, call.src[0], cpu.block)) {
      const bool is_first = conv->group == 1 && call.src[0].shape[1] <= 3;
      add(is_first ? Layout::plain() : blocked, blocked, kBlockedRate, 0);
    }
    add(Layout::plain(), Layout::plain(), kPlainRate, 0);
  }

  std::unique_ptr<Kernel> compile(const Call& call, const Cpu&) const override {
    const Conv& conv = *call.op.as<Conv>();
    const ImageLoop loop(call);
    const TensorDesc src = loop.image(call.src[0]), dst = loop.image(call.dst[0]);
    const auto weight = memory_desc(weight_shape(conv, call.src[1].shape), Tag::any);
    const auto bias = conv.bias ? memory_desc(call.src[2].shape, Tag::a) : dnnl::memory::desc();
    const auto& window = conv.window;
    const dnnl::memory::dims stride(window.stride.begin(), window.stride.end());
    const dnnl::memory::dims dilation{window.dilation[0] - 1, window.dilation[1] - 1};
    const dnnl::memory::dims before(window.pad.begin(), window.pad.end());
    dnnl::memory::dims after(2);
    for (std::size_t axis = 0; axis < 2; ++axis) {
      after[axis] = (dst.shape[axis + 2] - 1) * window.stride[axis] + window.reach(axis) -
                    src.shape[axis + 2] - window.pad[axis];
    }
    const auto pd = describe<dnnl::convolution_forward>(
        attributes(conv.activation), dnnl::prop_kind::forward_inference, algorithm_, memory_desc(src),
        weight, bias, memory_desc(dst), stride, dilation, before, after);
    std::vector<Argument> arguments{loop.argument(DNNL_ARG_SRC, false, 0, call.src[0]),
                                    {DNNL_ARG_WEIGHTS, false, 1, pd.weights_desc()},
                                    loop.argument(DNNL_ARG_DST, true, 0, call.dst[0])};
    if (conv.bias) arguments.push_back({DNNL_ARG_BIAS, false, 2, bias});
    return std::make_unique<ConvKernel>(conv, pd, std::move(arguments), loop.images());
  }

 private:
  // Whether groups begin at blocks, so that oneDNN has a fast kernel.
  static bool blocks_fit(const Conv& conv, const TensorDesc& src, int block) {
    if (conv.group == 1 || is_depthwise(conv, src)) return true;
    return src.shape[1] / conv.group % block == 0 && conv.outputs / conv.group % block == 0;
  }

  // oneDNN has Winograd kernels for AVX-512 alone. On images of 14 pixels and less two threads gain
  // nothing (docs/benchmarks/cpu.md).
  static bool winograd_pays(const Conv& conv, const Call& call, const Cpu& cpu) {
    constexpr std::int64_t kLeastExtent = 28, kLeastChannels = 16;
    const Window& window = conv.window;
    const Shape& out = call.dst[0].shape;
    return cpu.block == 16 && conv.group == 1 && window.kernel == std::array<std::int64_t, 2>{3, 3} &&
           window.stride == std::array<std::int64_t, 2>{1, 1} && window.dilation == window.stride &&
           window.pad == window.stride && out[2] >= kLeastExtent && out[3] >= kLeastExtent &&
           call.src[0].shape[1] >= kLeastChannels && conv.outputs >= kLeastChannels &&
           call.src[0].shape[1] % cpu.block == 0 && conv.outputs % cpu.block == 0 && has_winograd();
  }

  dnnl::algorithm algorithm_;
};

}  // namespace

std::unique_ptr<Provider> conv_provider() {
  return std::make_unique<ConvProvider>(dnnl::algorithm::convolution_direct);
}

std::unique_ptr<Provider> winograd_provider() {
  return std::make_unique<ConvProvider>(dnnl::algorithm::convolution_winograd);
}

}  // namespace maru::cpu
