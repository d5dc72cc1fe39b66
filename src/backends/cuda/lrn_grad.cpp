#include "ops/lrn_grad.h"

#include "backends/cuda/kernels/lrn_grad.h"
#include "backends/cuda/pool_lrn_params.h"
#include "backends/cuda/training.h"

namespace maru::cuda {
namespace {

class LrnGradProvider final : public Provider {
 public:
  std::string name() const override { return "lrn_grad"; }

  void offer(const Call& call, const Runtime& runtime, std::vector<Offer>& offers) const override {
    if (call.op.as<LrnGrad>() == nullptr || !is_training_call(call)) return;
    const double seconds = memory_seconds(runtime, static_cast<double>(call.src[0].bytes()) * 3);
    for (const Layout layout : natural_layouts(call)) {
      Offer offer = same_layout_offer(*this, call, layout, seconds);
      offer.src_window = offer.dst_window = true;
      offers.push_back(std::move(offer));
    }
  }

  std::unique_ptr<Kernel> compile(const Call& call, const Offer&,
                                  const Runtime& runtime) const override {
    const Lrn& lrn = call.op.as<LrnGrad>()->lrn;
    const DType dtype = *data_type(call);
    const TensorDesc &gradient = call.src[0], &src = call.src[1], &dst = call.dst[0];
    const Images images(dst);
    const bool is_plain = dst.layout.kind == Layout::Kind::plain;
    const int vector = is_plain ? 1 : vector_of(dtype);
    const Kept parts(dst, vector);

    LrnGradParams params{};
    params.gradient_strides = strides_of(gradient);
    params.src_strides = strides_of(src);
    params.part_strides = parts.strides;
    params.dst_strides = strides_of(dst);
    params.images = static_cast<std::uint32_t>(images.count);
    params.channels = static_cast<std::uint32_t>(images.channels);
    params.height = static_cast<std::int32_t>(dst.shape[2]);
    params.width = static_cast<std::int32_t>(dst.shape[3]);
    params.terms = terms_of(lrn);
    const bool has_neighbours = !is_plain && params.terms.is_across && (lrn.size == 3 || lrn.size == 5);
    const auto bind = [params, has_neighbours,
                       size = static_cast<std::int64_t>(size_of(dtype))](const Bound& bound) {
      LrnGradParams bound_params = params;
      bound_params.gradient = bound.src(0);
      bound_params.src = bound.src(1);
      bound_params.dst = bound.dst(0);
      if (!has_neighbours) bound_params.parts = bound.workspace<float>();
      bound_params.is_gradient_aligned =
          is_aligned(bound_params.gradient, params.gradient_strides.pixel * size);
      bound_params.is_src_aligned = is_aligned(bound_params.src, params.src_strides.pixel * size);
      bound_params.is_dst_aligned = is_aligned(bound_params.dst, params.dst_strides.pixel * size);
      return bound_params;
    };

    const std::int64_t threads = images.count * images.pixels * divide_up(images.channels, vector);
    const std::string kind = is_plain ? "_plain" : "";
    std::vector<Stage> stages;
    if (has_neighbours) {
      stages.push_back(spread(runtime, function_of(lrn.size == 3 ? "lrn_grad_3" : "lrn_grad_5", dtype),
                              threads, bind));
    } else {
      stages.push_back(spread(runtime, function_of("lrn_parts" + kind, dtype), threads, bind));
      stages.push_back(spread(runtime, function_of("lrn_grad" + kind, dtype), threads, bind));
    }
    return std::make_unique<CudaKernel>(
        runtime, fmt::format("lrn_grad {}", to_string(lrn.region)), std::move(stages),
        has_neighbours ? 0 : static_cast<std::size_t>(parts.count) * sizeof(float));
  }
};

}  // namespace

std::unique_ptr<Provider> lrn_grad_provider() { return std::make_unique<LrnGradProvider>(); }

}  // namespace maru::cuda
