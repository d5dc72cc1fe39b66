#include "ops/pool.h"

#include "backends/cpu/onednn.h"

namespace maru::cpu {
namespace {

// Pixels that a window takes beyond the input at the far side; may be negative.
std::array<std::int64_t, 2> pad_after(const Window& window, const TensorDesc& src,
                                      const TensorDesc& dst) {
  std::array<std::int64_t, 2> after{};
  for (std::size_t axis = 0; axis < 2; ++axis) {
    after[axis] = (dst.shape[axis + 2] - 1) * window.stride[axis] + window.kernel[axis] -
                  src.shape[axis + 2] - window.pad[axis];
  }
  return after;
}

// oneDNN divides by the whole kernel or by the taps in the input; nothing when Caffe's divisor is
// neither.
std::optional<dnnl::algorithm> algorithm_of(const Pool& pool, const Window& window,
                                            const TensorDesc& src, const TensorDesc& dst) {
  if (pool.kind == Pool::Kind::max) return dnnl::algorithm::pooling_max;
  const bool is_padded = window.pad[0] > 0 || window.pad[1] > 0;
  if (pool.divisor == Pool::Divisor::valid || !is_padded) {
    return dnnl::algorithm::pooling_avg_exclude_padding;
  }
  const auto after = pad_after(window, src, dst);
  const bool hangs_over = after[0] > window.pad[0] || after[1] > window.pad[1];
  if (hangs_over) return std::nullopt;
  return dnnl::algorithm::pooling_avg_include_padding;
}

class PoolProvider final : public Provider {
 public:
  std::string name() const override { return "oneDNN pooling"; }

  void offer(const Call& call, const Cpu& cpu, std::vector<Offer>& offers) const override {
    const auto* pool = call.op.as<Pool>();
    if (pool == nullptr || !all_f32(call)) return;
    if (!algorithm_of(*pool, pool->window_for(call.src[0]), call.src[0], call.dst[0])) return;
    for (const Layout layout : natural_layouts(call, cpu)) {
      Offer offer = same_layout_offer(*this, call, layout,
                                      memory_seconds(static_cast<double>(call.src[0].bytes()) * 2));
      offer.src_window = offer.dst_window = true;
      offers.push_back(std::move(offer));
    }
  }

  std::unique_ptr<Kernel> compile(const Call& call, const Cpu&) const override {
    const Pool& pool = *call.op.as<Pool>();
    const ImageLoop loop(call);
    const TensorDesc src = loop.image(call.src[0]), dst = loop.image(call.dst[0]);
    const Window window = pool.window_for(src);
    const auto algorithm = *algorithm_of(pool, window, src, dst);
    const auto far = pad_after(window, src, dst);
    const dnnl::memory::dims stride(window.stride.begin(), window.stride.end());
    const dnnl::memory::dims kernel(window.kernel.begin(), window.kernel.end());
    const dnnl::memory::dims before(window.pad.begin(), window.pad.end());
    const dnnl::memory::dims after(far.begin(), far.end());
#if DNNL_VERSION_MAJOR >= 3
    const dnnl::memory::dims dilation{0, 0};
    const auto pd = describe<dnnl::pooling_forward>(
        attributes(std::nullopt), dnnl::prop_kind::forward_inference, algorithm, memory_desc(src),
        memory_desc(dst), stride, kernel, dilation, before, after);
#else
    const auto pd = describe<dnnl::pooling_forward>(
        attributes(std::nullopt), dnnl::prop_kind::forward_inference, algorithm, memory_desc(src),
        memory_desc(dst), stride, kernel, before, after);
#endif
    return std::make_unique<OnednnKernel>(
        dnnl::pooling_forward(pd), pd.impl_info_str(), workspace_of(pd),
        std::vector{loop.argument(DNNL_ARG_SRC, false, 0, call.src[0]),
                    loop.argument(DNNL_ARG_DST, true, 0, call.dst[0])},
        loop.images());
  }
};

}  // namespace

std::unique_ptr<Provider> pool_provider() { return std::make_unique<PoolProvider>(); }

}  // namespace maru::cpu
