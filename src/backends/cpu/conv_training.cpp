// Convolutions whose weights change from run to run, and their gradients, by oneDNN. Weights lie plain,
// as a model file has them; each run reorders them to and from the form that the primitive wants.
#include <numeric>
#include <unordered_map>

#include "backends/cpu/onednn.h"
#include "base/error.h"
#include "ops/conv.h"
#include "ops/conv_grad.h"

namespace maru::cpu {
namespace {

using Tag = dnnl::memory::format_tag;
using Memory = dnnl::memory;

// Which operand an argument is, how that lies, and how the primitive wants it.
struct Reordered {
  int id;
  bool is_dst;
  std::size_t operand;
  Memory::desc held, wanted;

  bool moves() const { return held != wanted; }
};

class ReorderingLaunch final : public Launch {
 public:
  ReorderingLaunch(dnnl::primitive primitive, std::vector<Reordered> arguments,
                   std::vector<Memory> held, std::vector<Memory> used, Memory scratchpad)
      : primitive_(std::move(primitive)), scratchpad_(std::move(scratchpad)) {
    for (std::size_t i = 0; i < arguments.size(); ++i) {
      arguments_[arguments[i].id] = used[i];
      if (arguments[i].moves()) {
        const bool is_dst = arguments[i].is_dst;
        const Memory& from = is_dst ? used[i] : held[i];
        const Memory& to = is_dst ? held[i] : used[i];
        (is_dst ? after_ : before_).push_back({dnnl::reorder(from, to), from, to});
      }
    }
    if (scratchpad_) arguments_[DNNL_ARG_SCRATCHPAD] = scratchpad_;
  }

  void run(Queue& queue) override {
    dnnl::stream& stream = static_cast<CpuQueue&>(queue).stream;
    try {
      for (Move& move : before_) move.reorder.execute(stream, move.from, move.to);
      primitive_.execute(stream, arguments_);
      for (Move& move : after_) move.reorder.execute(stream, move.from, move.to);
    } catch (const dnnl::error& error) {
      throw Error("cpu", "oneDNN to run a primitive", error.what());
    }
  }

 private:
  struct Move {
    dnnl::reorder reorder;
    Memory from, to;
  };
  dnnl::primitive primitive_;
  Memory scratchpad_;
  std::unordered_map<int, Memory> arguments_;
  std::vector<Move> before_, after_;
};

class ReorderingKernel final : public Kernel {
 public:
  ReorderingKernel(dnnl::primitive primitive, std::string implementation,
                   const Memory::desc& scratchpad, std::vector<Reordered> arguments)
      : primitive_(std::move(primitive)),
        implementation_("oneDNN " + std::move(implementation)),
        scratchpad_(scratchpad),
        arguments_(std::move(arguments)) {}

  std::string name() const override { return implementation_; }

  std::size_t workspace_bytes() const override {
    return std::accumulate(arguments_.begin(), arguments_.end(), aligned(scratchpad_.get_size()),
                           [](std::size_t sum, const Reordered& argument) {
                             return sum + (argument.moves() ? aligned(argument.wanted.get_size()) : 0);
                           });
  }

  std::unique_ptr<Launch> bind(std::span<const Tensor> src, std::span<const Tensor> dst,
                               const Tensor& workspace) const override {
    std::size_t at = 0;
    const auto next = [&](const Memory::desc& desc) {
      Memory memory(desc, cpu_engine(), static_cast<std::byte*>(address(workspace)) + at);
      at += aligned(desc.get_size());
      return memory;
    };
    Memory scratchpad;
    if (scratchpad_.get_size() > 0) scratchpad = next(scratchpad_);
    std::vector<Memory> held, used;
    for (const Reordered& argument : arguments_) {
      const Tensor& tensor = argument.is_dst ? dst[argument.operand] : src[argument.operand];
      held.emplace_back(argument.held, cpu_engine(), address(tensor));
      used.push_back(argument.moves() ? next(argument.wanted) : held.back());
    }
    return std::make_unique<ReorderingLaunch>(primitive_, arguments_, std::move(held), std::move(used),
                                              std::move(scratchpad));
  }

 private:
  static std::size_t aligned(std::size_t bytes) { return (bytes + 63) / 64 * 64; }

  dnnl::primitive primitive_;
  std::string implementation_;
  Memory::desc scratchpad_;
  std::vector<Reordered> arguments_;
};

// A convolution of any of the three kinds: what they share.
struct Geometry {
  Window window;
  std::int64_t group;
  Shape data, weight, result;
  // Indices of operands; the result of the call is dst[0].
  Layout data_layout, result_layout;

  double flops() const {
    return 2 * static_cast<double>(weight.count(1, 4)) * static_cast<double>(result.count());
  }
  bool is_depthwise() const { return group > 1 && group == data[1] && group == weight[0]; }

  Shape grouped() const {
    if (group == 1) return weight;
    return {group, weight[0] / group, weight[1], weight[2], weight[3]};
  }
  Memory::dims stride() const { return {window.stride.begin(), window.stride.end()}; }
  Memory::dims dilation() const { return {window.dilation[0] - 1, window.dilation[1] - 1}; }
  Memory::dims before() const { return {window.pad.begin(), window.pad.end()}; }
  Memory::dims after() const {
    Memory::dims pads(2);
    for (std::size_t axis = 0; axis < 2; ++axis) {
      pads[axis] = (result[axis + 2] - 1) * window.stride[axis] + window.reach(axis) - data[axis + 2] -
                   window.pad[axis];
    }
    return pads;
  }
  Memory::desc data_desc() const { return memory_desc({DType::f32, data, data_layout}); }
  Memory::desc result_desc() const { return memory_desc({DType::f32, result, result_layout}); }
  Memory::desc weight_desc() const {
    return memory_desc(grouped(), group == 1 ? Tag::abcd : Tag::abcde);
  }
  Memory::desc any_weight() const { return memory_desc(grouped(), Tag::any); }
};

// Nothing for what is no convolution with weights that change.
std::optional<Geometry> geometry_of(const Call& call) {
  if (const auto* conv = call.op.as<Conv>()) {
    // With constants alone it is one for using networks.
    if (call.constant[1] && (!conv->bias || call.constant[2])) return std::nullopt;
    if (conv->activation && !onednn_eltwise(*conv->activation)) return std::nullopt;
    return Geometry{conv->window,      conv->group,        call.src[0].shape, call.src[1].shape,
                    call.dst[0].shape, call.src[0].layout, call.dst[0].layout};
  }
  if (const auto* grad = call.op.as<ConvGradData>()) {
    return Geometry{grad->window,      grad->group,        call.dst[0].shape, call.src[1].shape,
                    call.src[0].shape, call.dst[0].layout, call.src[0].layout};
  }
  if (const auto* grad = call.op.as<ConvGradWeight>()) {
    return Geometry{grad->window,      grad->group,        call.src[0].shape, call.dst[0].shape,
                    call.src[1].shape, call.src[0].layout, call.src[1].layout};
  }
  return std::nullopt;
}

dnnl::convolution_forward::primitive_desc forward_of(const Geometry& g, const Memory::desc& bias,
                                                     const std::optional<Unary>& activation) {
  return describe<dnnl::convolution_forward>(attributes(activation), dnnl::prop_kind::forward_training,
                                             dnnl::algorithm::convolution_direct, g.data_desc(),
                                             g.any_weight(), bias, g.result_desc(), g.stride(),
                                             g.dilation(), g.before(), g.after());
}

class ConvTrainingProvider final : public Provider {
 public:
  std::string name() const override { return "oneDNN convolution in training"; }

  void offer(const Call& call, const Cpu& cpu, std::vector<Offer>& offers) const override {
    if (!all_f32(call)) return;
    const std::optional<Geometry> geometry = geometry_of(call);
    if (!geometry) return;
    // Of one thread; the weights are reordered twice.
    constexpr double kBlockedRate = 80e9, kPlainRate = 30e9;
    const double weights = 2 * memory_seconds(4 * static_cast<double>(geometry->weight.count()));
    const auto add = [&](Layout data, Layout result, double rate) {
      Offer offer = same_layout_offer(*this, call, Layout::plain(),
                                      compute_seconds(cpu, geometry->flops(), rate) + weights);
      const bool is_forward = call.op.as<Conv>() != nullptr;
      const bool is_data = call.op.as<ConvGradData>() != nullptr;
      (is_data ? offer.dst[0] : offer.src[0]) = data;
      (is_forward ? offer.dst[0] : is_data ? offer.src[0] : offer.src[1]) = result;
      offers.push_back(std::move(offer));
    };
    const Layout blocked = Layout::blocked(cpu.block);
    if (cpu.block > 1 && blocks_fit(*geometry, cpu.block)) {
      const bool is_first = geometry->group == 1 && geometry->data[1] <= 3;
      add(is_first ? Layout::plain() : blocked, blocked, kBlockedRate);
    }
    add(Layout::plain(), Layout::plain(), kPlainRate);
  }

  std::unique_ptr<Kernel> compile(const Call& call, const Cpu&) const override {
    const Geometry g = *geometry_of(call);
    if (const auto* conv = call.op.as<Conv>()) {
      const auto bias = conv->bias ? memory_desc(call.src[2].shape, Tag::a) : Memory::desc();
      const auto pd = forward_of(g, bias, conv->activation);
      std::vector<Reordered> arguments{{DNNL_ARG_SRC, false, 0, g.data_desc(), pd.src_desc()},
                                       {DNNL_ARG_WEIGHTS, false, 1, g.weight_desc(), pd.weights_desc()},
                                       {DNNL_ARG_DST, true, 0, g.result_desc(), pd.dst_desc()}};
      if (conv->bias) arguments.push_back({DNNL_ARG_BIAS, false, 2, bias, bias});
      return make(dnnl::convolution_forward(pd), pd, std::move(arguments));
    }
    const auto hint = forward_of(g, Memory::desc(), std::nullopt);
    if (call.op.as<ConvGradData>() != nullptr) {
      const auto pd = describe_backward<dnnl::convolution_backward_data>(
          attributes(std::nullopt), hint, dnnl::algorithm::convolution_direct, g.data_desc(),
          g.any_weight(), g.result_desc(), g.stride(), g.dilation(), g.before(), g.after());
      return make(dnnl::convolution_backward_data(pd), pd,
                  {{DNNL_ARG_DIFF_DST, false, 0, g.result_desc(), pd.diff_dst_desc()},
                   {DNNL_ARG_WEIGHTS, false, 1, g.weight_desc(), pd.weights_desc()},
                   {DNNL_ARG_DIFF_SRC, true, 0, g.data_desc(), pd.diff_src_desc()}});
    }
    const auto pd = describe_backward<dnnl::convolution_backward_weights>(
        attributes(std::nullopt), hint, dnnl::algorithm::convolution_direct, g.data_desc(),
        g.any_weight(), g.result_desc(), g.stride(), g.dilation(), g.before(), g.after());
    return make(dnnl::convolution_backward_weights(pd), pd,
                {{DNNL_ARG_SRC, false, 0, g.data_desc(), pd.src_desc()},
                 {DNNL_ARG_DIFF_DST, false, 1, g.result_desc(), pd.diff_dst_desc()},
                 {DNNL_ARG_DIFF_WEIGHTS, true, 0, g.weight_desc(), pd.diff_weights_desc()}});
  }

 private:
  template <class PrimitiveDesc>
  static std::unique_ptr<Kernel> make(dnnl::primitive primitive, const PrimitiveDesc& pd,
                                      std::vector<Reordered> arguments) {
    return std::make_unique<ReorderingKernel>(std::move(primitive), pd.impl_info_str(),
                                              pd.scratchpad_desc(), std::move(arguments));
  }

  // Whether groups begin at blocks, so that oneDNN has a fast kernel.
  static bool blocks_fit(const Geometry& g, int block) {
    if (g.group == 1 || g.is_depthwise()) return true;
    return g.data[1] / g.group % block == 0 && g.weight[0] / g.group % block == 0;
  }
};

}  // namespace

std::unique_ptr<Provider> conv_training_provider() { return std::make_unique<ConvTrainingProvider>(); }

}  // namespace maru::cpu
