#include "ops/pool_lrn.h"

#include "backends/cuda/elements.h"
#include "backends/cuda/kernels/pool_lrn.h"
#include "backends/cuda/pool_lrn_params.h"

namespace maru::cuda {
namespace {

constexpr std::int64_t kMostBlocksDown = 65535;  // CUDA's limit of a grid's second extent

// Where channels are neighbours, and a block's threads are enough for all of a pixel.
class PoolLrnProvider final : public Provider {
 public:
  std::string name() const override { return "pool_lrn"; }

  void offer(const Call& call, const Runtime& runtime, std::vector<Offer>& offers) const override {
    const auto* op = call.op.as<PoolLrn>();
    const auto dtype = data_type(call);
    if (op == nullptr || !dtype || !is_countable(call)) return;
    if (op->lrn.region != Lrn::Region::across || (op->lrn.size != 3 && op->lrn.size != 5)) return;
    if (divide_up(call.src[0].shape[1], vector_of(*dtype)) > kPoolLrnThreads) return;
    if (op->order == PoolLrn::Order::lrn_first && !fits_tiles(*op, call.src[0])) return;
    const auto bytes = static_cast<double>(call.src[0].bytes() + call.dst[0].bytes());
    for (const Layout layout : natural_layouts(call)) {
      if (layout.kind != Layout::Kind::channels_last) continue;
      Offer offer = same_layout_offer(*this, call, layout, memory_seconds(runtime, bytes));
      offer.src_window = offer.dst_window = true;
      offers.push_back(std::move(offer));
    }
  }

  std::unique_ptr<Kernel> compile(const Call& call, const Offer&,
                                  const Runtime& runtime) const override {
    const PoolLrn& op = *call.op.as<PoolLrn>();
    const DType dtype = *data_type(call);
    const Images to(call.dst[0]);
    PoolLrnParams params{};
    params.pool = pool_params(op.pool, call.src[0], call.dst[0]);
    params.terms = terms_of(op.lrn);
    const std::int64_t vectors = divide_up(to.channels, vector_of(dtype));
    params.vectors = static_cast<std::uint32_t>(vectors);
    const std::int64_t pixels = to.count * to.pixels;
    const std::int64_t block_pixels = pixels_of_a_block(runtime, vectors, pixels);
    params.block_pixels = static_cast<std::uint32_t>(block_pixels);
    const auto bind = [params, dtype](const Bound& bound) {
      PoolLrnParams bound_params = params;
      bind_images(bound_params.pool, bound, dtype);
      return bound_params;
    };
    if (op.order == PoolLrn::Order::lrn_first) {
      const std::int64_t tiles = divide_up(call.dst[0].shape[2], kLrnPoolSide) *
                                 divide_up(call.dst[0].shape[3], kLrnPoolSide) *
                                 divide_up(vectors, kLrnPoolVectors);
      return std::make_unique<CudaKernel>(
          runtime, "pool_lrn lrn first",
          std::vector{stage(function_of("lrn_pool", dtype),
                            {static_cast<unsigned>(tiles), params.pool.images, 1},
                            {kLrnPoolThreads, 1, 1}, bind)});
    }
    return std::make_unique<CudaKernel>(
        runtime, "pool_lrn pool first",
        std::vector{stage(function_of("pool_lrn", dtype),
                          {static_cast<unsigned>(divide_up(pixels, block_pixels)), 1, 1},
                          {static_cast<unsigned>(block_pixels * vectors), 1, 1}, bind)});
  }

 private:
  static bool fits_tiles(const PoolLrn& op, const TensorDesc& src) {
    const Window window = op.pool.window_for(src);
    std::int64_t taps = 1;
    for (std::size_t axis = 0; axis < 2; ++axis)
      taps *= (kLrnPoolSide - 1) * window.stride[axis] + window.kernel[axis];
    return op.pool.kind == Pool::Kind::max && taps <= kLrnPoolTaps && src.shape[0] <= kMostBlocksDown;
  }

  // As many as its threads are enough for, but some blocks for every multiprocessor.
  static std::int64_t pixels_of_a_block(const Runtime& runtime, std::int64_t vectors,
                                        std::int64_t pixels) {
    std::int64_t most = kPoolLrnThreads / vectors;
    while (most > 1 && divide_up(pixels, most) < runtime.facts().multiprocessors) most /= 2;
    return most;
  }
};

}  // namespace

std::unique_ptr<Provider> pool_lrn_provider() { return std::make_unique<PoolLrnProvider>(); }

}  // namespace maru::cuda
