#include "backends/cuda/kernels/loss.h"
#include "backends/cuda/reduce.h"
#include "backends/cuda/training.h"
#include "ops/loss.h"

namespace maru::cuda {
namespace {

float over_images(const Call& call) {
  return static_cast<float>(1 / static_cast<double>(call.src[0].shape[0]));
}

// PairLoss and its gradient, element by element.
class PairLossProvider final : public Provider {
 public:
  std::string name() const override { return "pair_loss"; }

  void offer(const Call& call, const Runtime& runtime, std::vector<Offer>& offers) const override {
    const bool is_grad = call.op.as<PairLossGrad>() != nullptr;
    if ((!is_grad && call.op.as<PairLoss>() == nullptr) || !is_f32_call(call, 2)) return;
    const double seconds = memory_seconds(runtime, static_cast<double>(call.src[0].bytes()) * 3);
    for (const Layout layout : natural_layouts(call)) {
      Offer offer = same_layout_offer(*this, call, layout, seconds);
      if (is_grad) {
        offer.src[2] = Layout::plain();
        offer.dst_window = offer.in_place = true;
      } else {
        offer.dst[0] = Layout::plain();
      }
      offer.src_window = true;
      offers.push_back(std::move(offer));
    }
  }

  std::unique_ptr<Kernel> compile(const Call& call, const Offer&,
                                  const Runtime& runtime) const override {
    if (const auto* grad = call.op.as<PairLossGrad>()) return gradient(call, *grad, runtime);
    const Rows rows = rows_of(call.src, vector_of(DType::f32));
    const bool is_euclidean = call.op.as<PairLoss>()->kind == PairLoss::Kind::euclidean;
    ReduceRunsParams params{};
    params.term = is_euclidean ? ReduceTerm::euclidean : ReduceTerm::cross_entropy;
    params.factor = over_images(call);
    params.outer = rows.count;
    params.middle = 1;
    params.inner = rows.run;
    params.a_stride = row_stride(call.src[0], rows);
    params.b_stride = row_stride(call.src[1], rows);
    Sums sums = sum_runs(runtime, params, DType::f32, DType::f32);
    return std::make_unique<CudaKernel>(runtime, "pair_loss", std::move(sums.stages),
                                        sums.workspace_bytes);
  }

 private:
  static std::unique_ptr<Kernel> gradient(const Call& call, const PairLossGrad& grad,
                                          const Runtime& runtime) {
    const TensorDesc tensors[] = {call.src[0], call.src[1], call.dst[0]};
    PairGradParams params{};
    params.rows = rows_of(tensors, vector_of(DType::f32));
    params.came_stride = row_stride(tensors[0], params.rows);
    params.wanted_stride = row_stride(tensors[1], params.rows);
    params.dst_stride = row_stride(tensors[2], params.rows);
    params.factor = over_images(call);
    params.is_sigmoid = grad.loss.kind == PairLoss::Kind::sigmoid_cross_entropy;
    const auto bind = [params](const Bound& bound) {
      constexpr std::int64_t kSize = sizeof(float);
      PairGradParams bound_params = params;
      bound_params.came = bound.src<float>(0);
      bound_params.wanted = bound.src<float>(1);
      bound_params.gradient = bound.src<float>(2);
      bound_params.dst = bound.dst<float>(0);
      bound_params.is_aligned = is_aligned(bound_params.came, params.came_stride * kSize) &&
                                is_aligned(bound_params.wanted, params.wanted_stride * kSize) &&
                                is_aligned(bound_params.dst, params.dst_stride * kSize);
      return bound_params;
    };
    return std::make_unique<CudaKernel>(
        runtime, "pair_loss_grad", std::vector{spread(runtime, "pair_loss_grad", params.rows, bind)});
  }
};

}  // namespace

std::unique_ptr<Provider> pair_loss_provider() { return std::make_unique<PairLossProvider>(); }

}  // namespace maru::cuda
