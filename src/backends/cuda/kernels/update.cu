#include "backends/cuda/kernels/update.h"
#include "backends/cuda/kernels/vectors.cuh"

namespace maru::cuda {
namespace {

// What every element shares, of the controls.
struct Step {
  float rate, l2, l1;  // with the parameter's own factors
  float factor;        // of the gradient
  bool is_taken;
};

__device__ Step step_of(const UpdateParams& p) {
  const UpdateControls control = *p.controls;
  const UpdateTerms& terms = p.terms;
  const float norm = *p.norm;
  Step step{control.rate * terms.rate_mult, control.l2 * terms.decay_mult,
            control.l1 * terms.decay_mult, control.factor, isfinite(norm)};
  if (control.clip > 0 && norm > control.clip) step.factor *= control.clip / norm;
  if (terms.solver == UpdateTerms::Solver::adam) {
    step.rate *=
        sqrtf(-expm1f(control.time * terms.log_momentum2)) / -expm1f(control.time * terms.log_momentum);
  }
  return step;
}

__device__ void update_one(const UpdateTerms& terms, const Step& step, float gradient, float& w,
                           float& h, float& k) {
  using Solver = UpdateTerms::Solver;
  const float sign = w > 0 ? 1.0f : w < 0 ? -1.0f : 0.0f;
  const float g = gradient * step.factor + (step.l2 * w + step.l1 * sign), m = terms.momentum;
  switch (terms.solver) {
    case Solver::sgd:
      h = m * h + step.rate * g;
      w -= h;
      return;
    case Solver::nesterov: {
      const float before = h;
      h = m * h + step.rate * g;
      w -= (1 + m) * h - m * before;
      return;
    }
    case Solver::adagrad:
      h += g * g;
      w -= step.rate * g / (sqrtf(h) + terms.delta);
      return;
    case Solver::rmsprop:
      h = terms.rms_decay * h + terms.rms_rest * g * g;
      w -= step.rate * g / (sqrtf(h) + terms.delta);
      return;
    case Solver::adadelta: {
      h = m * h + terms.rest * g * g;
      const float u = g * sqrtf((k + terms.delta) / (h + terms.delta));
      k = m * k + terms.rest * u * u;
      w -= step.rate * u;
      return;
    }
    case Solver::adam:
      h = m * h + terms.rest * g;
      k = terms.momentum2 * k + terms.rest2 * g * g;
      w -= step.rate * h / (sqrtf(k) + terms.delta);
      return;
  }
}

__global__ void update(UpdateParams p) {
  constexpr int N = kVector<float>;
  const std::uint32_t first = thread_index() * N;
  if (first >= p.count) return;
  const int count = static_cast<int>(min(p.count - first, std::uint32_t{N}));
  const Step step = step_of(p);
  float w[N], h[N], k[N] = {}, gradient[N];
  load(p.w + first, count, p.is_aligned, w);
  load(p.h + first, count, p.is_aligned, h);
  if (p.k != nullptr) load(p.k + first, count, p.is_aligned, k);
  load(p.gradient + first, count, p.is_aligned, gradient);
  if (step.is_taken) {
#pragma unroll
    for (int i = 0; i < N; ++i) update_one(p.terms, step, gradient[i], w[i], h[i], k[i]);
  }
  store(w, p.new_w + first, count, p.is_aligned);
  store(h, p.new_h + first, count, p.is_aligned);
  if (p.k != nullptr) store(k, p.new_k + first, count, p.is_aligned);
  if (p.cleared == nullptr) return;
  const float zero[N] = {};
  store(zero, p.cleared + first, count, p.is_aligned);
}

MARU_CUDA_FUNCTION("update", update)

}  // namespace
}  // namespace maru::cuda
