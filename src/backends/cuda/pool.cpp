#include "ops/pool.h"

#include "backends/cuda/pool_lrn_params.h"

namespace maru::cuda {
namespace {

PoolWindow window_of(const Pool& pool, const TensorDesc& src, const TensorDesc& dst) {
  using Kind = PoolWindow::Kind;
  const Window window = pool.window_for(src);
  const auto pair = [](const std::array<std::int64_t, 2>& of, std::int32_t(&to)[2]) {
    for (std::size_t axis = 0; axis < 2; ++axis) to[axis] = static_cast<std::int32_t>(of[axis]);
  };
  PoolWindow result{};
  result.kind = pool.kind == Pool::Kind::max            ? Kind::max
                : pool.divisor == Pool::Divisor::padded ? Kind::average_padded
                                                        : Kind::average_valid;
  result.height = static_cast<std::int32_t>(src.shape[2]);
  result.width = static_cast<std::int32_t>(src.shape[3]);
  result.dst_height = static_cast<std::int32_t>(dst.shape[2]);
  result.dst_width = static_cast<std::int32_t>(dst.shape[3]);
  pair(window.kernel, result.kernel);
  pair(window.stride, result.stride);
  pair(window.pad, result.pad);
  return result;
}

}  // namespace

PoolParams pool_params(const Pool& pool, const TensorDesc& src, const TensorDesc& dst) {
  const Images to(dst);
  PoolParams params{};
  params.src_strides = strides_of(src);
  params.dst_strides = strides_of(dst);
  params.images = static_cast<std::uint32_t>(to.count);
  params.channels = static_cast<std::uint32_t>(to.channels);
  params.window = window_of(pool, src, dst);
  return params;
}

namespace {

constexpr std::int64_t kMostBlocksDown = 65535;  // CUDA's limit of a grid's second and third extents

class PoolProvider final : public Provider {
 public:
  std::string name() const override { return "pool"; }

  void offer(const Call& call, const Runtime& runtime, std::vector<Offer>& offers) const override {
    if (call.op.as<Pool>() == nullptr || !data_type(call) || !is_countable(call)) return;
    const auto bytes = static_cast<double>(call.src[0].bytes() + call.dst[0].bytes());
    for (const Layout layout : natural_layouts(call)) {
      Offer offer = same_layout_offer(*this, call, layout, memory_seconds(runtime, bytes));
      offer.src_window = offer.dst_window = true;
      offers.push_back(std::move(offer));
    }
  }

  std::unique_ptr<Kernel> compile(const Call& call, const Offer&,
                                  const Runtime& runtime) const override {
    const Pool& pool = *call.op.as<Pool>();
    const DType dtype = *data_type(call);
    const Images to(call.dst[0]);
    const std::int64_t vectors = divide_up(to.channels, vector_of(dtype));
    const PoolParams params = pool_params(pool, call.src[0], call.dst[0]);
    const auto bind = [params, dtype](const Bound& bound) {
      PoolParams bound_params = params;
      bind_images(bound_params, bound, dtype);
      return bound_params;
    };

    std::vector<Stage> stages;
    if (call.src[0].layout.kind == Layout::Kind::plain) {
      stages.push_back(
          spread(runtime, function_of("pool_plain", dtype), to.count * to.channels * to.pixels, bind));
    } else if (is_global(params.window) && to.count <= kMostBlocksDown) {
      stages.push_back(
          stage(function_of("pool_global", dtype),
                {static_cast<unsigned>(divide_up(vectors, kGlobalVectors)), params.images, 1},
                {kGlobalVectors, kGlobalSlices, 1}, bind));
    } else {
      stages.push_back(
          spread(runtime, function_of("pool", dtype), to.count * to.pixels * vectors, bind));
    }
    return std::make_unique<CudaKernel>(runtime, fmt::format("pool {}", to_string(pool.kind)),
                                        std::move(stages));
  }

 private:
  // One window, without padding, over the whole image.
  static bool is_global(const PoolWindow& window) {
    return window.dst_height == 1 && window.dst_width == 1 && window.pad[0] == 0 &&
           window.pad[1] == 0 && window.kernel[0] >= window.height && window.kernel[1] >= window.width;
  }
};

}  // namespace

std::unique_ptr<Provider> pool_provider() { return std::make_unique<PoolProvider>(); }

}  // namespace maru::cuda
