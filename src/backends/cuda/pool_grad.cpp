#include "ops/pool_grad.h"

#include <limits>

#include "backends/cuda/kernels/pool_grad.h"
#include "backends/cuda/pool_lrn_params.h"
#include "backends/cuda/training.h"

namespace maru::cuda {
namespace {

class PoolGradProvider final : public Provider {
 public:
  std::string name() const override { return "pool_grad"; }

  void offer(const Call& call, const Runtime& runtime, std::vector<Offer>& offers) const override {
    if (call.op.as<PoolGrad>() == nullptr || !is_training_call(call)) return;
    const auto bytes = static_cast<double>(2 * call.src[0].bytes() + 2 * call.dst[0].bytes());
    for (const Layout layout : natural_layouts(call)) {
      Offer offer = same_layout_offer(*this, call, layout, memory_seconds(runtime, bytes));
      offer.src_window = offer.dst_window = true;
      offers.push_back(std::move(offer));
    }
  }

  std::unique_ptr<Kernel> compile(const Call& call, const Offer&,
                                  const Runtime& runtime) const override {
    const Pool& pool = call.op.as<PoolGrad>()->pool;
    const DType dtype = *data_type(call);
    const TensorDesc &gradient = call.src[0], &dst = call.dst[0];
    const bool is_max = pool.kind == Pool::Kind::max;
    const bool is_plain = dst.layout.kind == Layout::Kind::plain;
    const int vector = is_plain ? 1 : vector_of(dtype);
    const Images from(gradient), to(dst);
    const std::int64_t vectors = divide_up(to.channels, vector);
    const Kept taps(gradient, vector);

    PoolGradParams params{};
    params.window = pool_params(pool, dst, gradient).window;
    params.gradient_strides = strides_of(gradient);
    params.src_strides = strides_of(call.src[is_max ? 1 : 0]);
    params.tap_strides = taps.strides;
    params.dst_strides = strides_of(dst);
    params.images = static_cast<std::uint32_t>(to.count);
    params.channels = static_cast<std::uint32_t>(to.channels);
    const auto bind = [params, is_max,
                       size = static_cast<std::int64_t>(size_of(dtype))](const Bound& bound) {
      PoolGradParams bound_params = params;
      bound_params.gradient = bound.src(0);
      bound_params.dst = bound.dst(0);
      bound_params.is_gradient_aligned =
          is_aligned(bound_params.gradient, params.gradient_strides.pixel * size);
      bound_params.is_dst_aligned = is_aligned(bound_params.dst, params.dst_strides.pixel * size);
      if (is_max) {
        bound_params.src = bound.src(1);
        bound_params.is_src_aligned = is_aligned(bound_params.src, params.src_strides.pixel * size);
        bound_params.taps = bound.workspace();
      }
      return bound_params;
    };

    // Whether a byte says which tap it is.
    constexpr std::int32_t kMostTaps = std::numeric_limits<std::uint8_t>::max() + 1;
    const bool is_wide = is_max && params.window.kernel[0] * params.window.kernel[1] > kMostTaps;
    const std::string kind = fmt::format("{}{}", is_wide ? "_wide" : "", is_plain ? "_plain" : "");
    std::vector<Stage> stages;
    if (is_max) {
      stages.push_back(spread(runtime, function_of("pool_most" + kind, dtype),
                              from.count * from.pixels * vectors, bind));
    }
    stages.push_back(spread(runtime,
                            function_of((is_max ? "pool_grad_most" : "pool_grad") + kind, dtype),
                            to.count * to.pixels * vectors, bind));
    const std::int64_t tap_bytes = is_wide ? sizeof(std::int32_t) : sizeof(std::uint8_t);
    return std::make_unique<CudaKernel>(runtime, fmt::format("pool_grad {}", to_string(pool.kind)),
                                        std::move(stages),
                                        is_max ? static_cast<std::size_t>(taps.count * tap_bytes) : 0);
  }
};

}  // namespace

std::unique_ptr<Provider> pool_grad_provider() { return std::make_unique<PoolGradProvider>(); }

}  // namespace maru::cuda
