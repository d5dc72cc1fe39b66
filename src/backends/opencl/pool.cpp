#include "ops/pool.h"

#include "backends/opencl/provider.h"

namespace maru::opencl {
namespace {

class PoolProvider final : public Provider {
 public:
  std::string name() const override { return "pool.cl"; }

  void offer(const Call& call, const Runtime& runtime, std::vector<Offer>& offers) const override {
    if (call.op.as<Pool>() == nullptr || !has_floats(call, runtime)) return;
    for (const Layout layout : natural_layouts(call, runtime)) {
      Offer offer = same_layout_offer(*this, call, layout,
                                      memory_seconds(static_cast<double>(call.src[0].bytes()) * 2));
      offer.src_window = offer.dst_window = true;
      offers.push_back(std::move(offer));
    }
  }

  std::unique_ptr<Kernel> compile(const Call& call, const Runtime& runtime) const override {
    const Pool& pool = *call.op.as<Pool>();
    const Window window = pool.window_for(call.src[0]);
    const Images from(call.src[0]), to(call.dst[0]);
    std::string options = block_option(call.src[0].layout) + half_option(call);
    if (pool.kind == Pool::Kind::max) {
      options += " -DMAXIMUM";
    } else if (pool.divisor == Pool::Divisor::valid) {
      options += " -DVALID";
    }
    const Shape& in = call.src[0].shape;
    const Shape& out = call.dst[0].shape;
    const auto pixels = [](std::int64_t count) { return static_cast<cl_int>(count); };
    return std::make_unique<OpenclKernel>(
        fmt::format("pool.cl {}", to_string(pool.kind)),
        std::vector{stage(runtime.program("pool", options), "pool", to.pixels, from.blocks, from.count,
                          {src(0), dst(0), from.stride, to.stride, pixels(in[2]), pixels(in[3]),
                           pixels(out[2]), pixels(out[3]), pixels(window.kernel[0]),
                           pixels(window.kernel[1]), pixels(window.stride[0]), pixels(window.stride[1]),
                           pixels(window.pad[0]), pixels(window.pad[1])})});
  }
};

}  // namespace

std::unique_ptr<Provider> pool_provider() { return std::make_unique<PoolProvider>(); }

}  // namespace maru::opencl
