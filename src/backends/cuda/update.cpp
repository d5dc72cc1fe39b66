#include "ops/update.h"

#include <algorithm>
#include <cmath>
#include <cstddef>

#include "backends/cuda/kernels/update.h"
#include "backends/cuda/training.h"

namespace maru::cuda {
namespace {

static_assert(sizeof(UpdateControls) == Update::kControls * sizeof(float));
static_assert(offsetof(UpdateControls, rate) == Update::kRate * sizeof(float));
static_assert(offsetof(UpdateControls, l2) == Update::kL2 * sizeof(float));
static_assert(offsetof(UpdateControls, l1) == Update::kL1 * sizeof(float));
static_assert(offsetof(UpdateControls, factor) == Update::kFactor * sizeof(float));
static_assert(offsetof(UpdateControls, clip) == Update::kClip * sizeof(float));
static_assert(offsetof(UpdateControls, time) == Update::kTime * sizeof(float));

UpdateTerms::Solver solver_of(const Update& update) {
  using From = Update::Solver;
  using To = UpdateTerms::Solver;
  switch (update.solver) {
    case From::sgd:
      return To::sgd;
    case From::nesterov:
      return To::nesterov;
    case From::adagrad:
      return To::adagrad;
    case From::rmsprop:
      return To::rmsprop;
    case From::adadelta:
      return To::adadelta;
    case From::adam:
      return To::adam;
  }
  return To::sgd;
}

UpdateTerms terms_of(const Update& update) {
  const auto single = [](double value) { return static_cast<float>(value); };
  UpdateTerms terms{};
  terms.solver = solver_of(update);
  terms.rate_mult = single(update.rate_mult);
  terms.decay_mult = single(update.decay_mult);
  terms.momentum = single(update.momentum);
  terms.rest = single(1 - update.momentum);
  terms.momentum2 = single(update.momentum2);
  terms.rest2 = single(1 - update.momentum2);
  terms.log_momentum = single(std::log(update.momentum));
  terms.log_momentum2 = single(std::log(update.momentum2));
  terms.delta = single(update.delta);
  terms.rms_decay = single(update.rms_decay);
  terms.rms_rest = single(1 - update.rms_decay);
  return terms;
}

class UpdateProvider final : public Provider {
 public:
  std::string name() const override { return "update"; }

  // States are plain.
  void offer(const Call& call, const Runtime& runtime, std::vector<Offer>& offers) const override {
    const auto* update = call.op.as<Update>();
    if (update == nullptr || !is_f32_call(call, update->states() + 2)) return;
    const auto tensors = static_cast<double>(2 * update->states() + 3);
    offers.push_back(
        same_layout_offer(*this, call, Layout::plain(),
                          memory_seconds(runtime, static_cast<double>(call.src[0].bytes()) * tensors)));
    offers.back().in_place = true;
  }

  std::unique_ptr<Kernel> compile(const Call& call, const Offer&,
                                  const Runtime& runtime) const override {
    const Update& update = *call.op.as<Update>();
    UpdateParams params{};
    params.count = static_cast<std::uint32_t>(call.src[0].count());
    params.terms = terms_of(update);
    const std::size_t states = update.states();
    const auto bind = [params, states, clears = update.clears](const Bound& bound) {
      UpdateParams bound_params = params;
      const bool has_second = states == 2;
      bound_params.w = bound.src<float>(0);
      bound_params.h = bound.src<float>(1);
      bound_params.new_w = bound.dst<float>(0);
      bound_params.new_h = bound.dst<float>(1);
      bound_params.k = has_second ? bound.src<float>(2) : nullptr;
      bound_params.new_k = has_second ? bound.dst<float>(2) : nullptr;
      bound_params.gradient = bound.src<float>(states + 1);
      bound_params.norm = bound.src<float>(states + 2);
      bound_params.controls = bound.src<UpdateControls>(states + 3);
      bound_params.cleared = clears ? bound.dst<float>(states + 1) : nullptr;
      const std::array<const void*, 8> all{
          bound_params.w,     bound_params.h,     bound_params.k,        bound_params.new_w,
          bound_params.new_h, bound_params.new_k, bound_params.gradient, bound_params.cleared};
      bound_params.is_aligned =
          std::ranges::all_of(all, [](const void* address) { return is_aligned(address, 0); });
      return bound_params;
    };
    return std::make_unique<CudaKernel>(
        runtime, fmt::format("update {}", to_string(update.solver)),
        std::vector{
            spread(runtime, "update", divide_up(call.src[0].count(), vector_of(DType::f32)), bind)});
  }
};

}  // namespace

std::unique_ptr<Provider> update_provider() { return std::make_unique<UpdateProvider>(); }

}  // namespace maru::cuda
