// What training does to each element or window, beside convolutions and products: own loops over plain
// tensors, and over any layout where elements stand alone.
#include <algorithm>
#include <cmath>
#include <limits>

#include "backends/cpu/provider.h"
#include "ops/broadcast.h"
#include "ops/dropout.h"
#include "ops/lrn_grad.h"
#include "ops/pool_grad.h"
#include "ops/reduce.h"
#include "ops/unary_grad.h"
#include "ops/update.h"

namespace maru::cpu {
namespace {

// Bytes of blocked tensors end in channels of zeros, which stay such.
std::int64_t stored_count(const TensorDesc& desc) {
  return static_cast<std::int64_t>(desc.bytes() / sizeof(float));
}

HostFunction unary_grad(const UnaryGrad& grad) {
  const bool is_relu = grad.unary.kind == Unary::Kind::relu;
  return [grad, is_relu](Views src, Views dst, std::span<std::byte>) {
    const float *g = src[0].as<const float>(), *at = src[1].as<const float>();
    float* to = dst[0].as<float>();
    const std::int64_t count = stored_count(dst[0].desc);
    const auto slope = static_cast<float>(grad.unary.alpha);
    if (is_relu) {
#pragma omp parallel for simd
      for (std::int64_t i = 0; i < count; ++i) to[i] = g[i] * (at[i] > 0 ? 1.0F : slope);
      return;
    }
#pragma omp parallel for
    for (std::int64_t i = 0; i < count; ++i)
      to[i] = static_cast<float>(g[i] * grad.derivative(static_cast<double>(at[i])));
  };
}

HostFunction update(const Update& update) {
  return [update](Views src, Views dst, std::span<std::byte>) {
    std::array<double, Update::kControls> control{};
    for (std::size_t i = 0; i < control.size(); ++i)
      control[i] = static_cast<double>(src.back().as<const float>()[i]);
    const std::size_t states = update.states();
    const auto norm = static_cast<double>(src[states + 2].as<const float>()[0]);
    const std::optional<double> factor = Update::gradient_factor(norm, control);
    const float *w = src[0].as<const float>(), *h = src[1].as<const float>();
    const float* k = states == 2 ? src[2].as<const float>() : nullptr;
    const float* g = src[states + 1].as<const float>();
    float *new_w = dst[0].as<float>(), *new_h = dst[1].as<float>();
    float* new_k = states == 2 ? dst[2].as<float>() : nullptr;
    float* cleared = update.clears ? dst.back().as<float>() : nullptr;
    const std::int64_t count = src[0].desc.count();
#pragma omp parallel for
    for (std::int64_t i = 0; i < count; ++i) {
      auto one = static_cast<double>(w[i]), first = static_cast<double>(h[i]);
      auto second = k != nullptr ? static_cast<double>(k[i]) : 0.0;
      if (factor) update.step(one, first, second, static_cast<double>(g[i]) * *factor, control);
      new_w[i] = static_cast<float>(one);
      new_h[i] = static_cast<float>(first);
      if (new_k != nullptr) new_k[i] = static_cast<float>(second);
      if (cleared != nullptr) cleared[i] = 0;
    }
  };
}

HostFunction dropout(const Dropout& dropout) {
  return [dropout](Views src, Views dst, std::span<std::byte>) {
    const auto step = static_cast<std::uint64_t>(src[1].as<const float>()[0]);
    const auto factor = static_cast<float>(1 / (1 - dropout.ratio));
    const float* from = src[0].as<const float>();
    float* to = dst[0].as<float>();
    const std::int64_t count = dst[0].desc.count();
#pragma omp parallel for
    for (std::int64_t i = 0; i < count; ++i)
      to[i] = dropout.keeps(step, static_cast<std::uint64_t>(dropout.first + i)) ? from[i] * factor : 0;
  };
}

// Sums of one thread each, so that the same input gives the same sum for any number of threads.
HostFunction reduce(const Extents& extents) {
  return [extents](Views src, Views dst, std::span<std::byte>) {
    const float* a = src[0].as<const float>();
    const float* b = src.size() == 2 ? src[1].as<const float>() : nullptr;
    float* to = dst[0].as<float>();
#pragma omp parallel for
    for (std::int64_t m = 0; m < extents.middle; ++m) {
      double sum = 0;
      for (std::int64_t o = 0; o < extents.outer; ++o) {
        const std::int64_t begin = (o * extents.middle + m) * extents.inner;
        for (std::int64_t i = begin; i < begin + extents.inner; ++i)
          sum += static_cast<double>(a[i]) * (b == nullptr ? 1.0 : static_cast<double>(b[i]));
      }
      to[m] = static_cast<float>(sum);
    }
  };
}

HostFunction pool_grad(const PoolGrad& grad) {
  return [grad](Views src, Views dst, std::span<std::byte>) {
    const Shape &in = dst[0].desc.shape, &out = src[0].desc.shape;
    const Window slid = grad.pool.window_for(dst[0].desc);
    const bool is_max = grad.pool.kind == Pool::Kind::max;
    const std::int64_t planes = in.count(0, 2);
#pragma omp parallel for
    for (std::int64_t plane = 0; plane < planes; ++plane) {
      const float* g = src[0].as<const float>() + plane * out.count(2, 4);
      const float* image = is_max ? src[1].as<const float>() + plane * in.count(2, 4) : nullptr;
      float* to = dst[0].as<float>() + plane * in.count(2, 4);
      std::fill_n(to, in.count(2, 4), 0.0F);
      for (std::int64_t y = 0; y < out[2]; ++y) {
        const Pool::Taps rows = grad.pool.taps(slid, 0, in[2], y);
        for (std::int64_t x = 0; x < out[3]; ++x) {
          const Pool::Taps columns = grad.pool.taps(slid, 1, in[3], x);
          const float share = *g++;
          if (is_max) {
            std::int64_t most = rows.begin * in[3] + columns.begin;
            for (std::int64_t sy = rows.begin; sy < rows.end; ++sy) {
              for (std::int64_t at = sy * in[3] + columns.begin; at < sy * in[3] + columns.end; ++at)
                if (image[at] > image[most]) most = at;
            }
            to[most] += share;
            continue;
          }
          const float part = share / static_cast<float>(rows.counted * columns.counted);
          for (std::int64_t sy = rows.begin; sy < rows.end; ++sy) {
            for (std::int64_t at = sy * in[3] + columns.begin; at < sy * in[3] + columns.end; ++at)
              to[at] += part;
          }
        }
      }
    }
  };
}

// Across channels: rows of pixels at a time, a sliding sum over the channels.
HostFunction lrn_grad(const Lrn& lrn) {
  return [lrn](Views src, Views dst, std::span<std::byte>) {
    const Shape& shape = dst[0].desc.shape;
    const std::int64_t channels = shape[1], pixels = shape.count(2, 4), half = lrn.size / 2;
    constexpr std::int64_t kRun = 16;  // pixels at a time
    const std::int64_t runs = (pixels + kRun - 1) / kRun;
    const auto weight = static_cast<float>(lrn.weight()), base = static_cast<float>(lrn.base());
    const auto beta = static_cast<float>(lrn.beta);
#pragma omp parallel
    {
      std::vector<float> bases(static_cast<std::size_t>(channels * kRun)), parts(bases.size());
#pragma omp for
      for (std::int64_t r = 0; r < shape[0] * runs; ++r) {
        const std::int64_t first = r % runs * kRun, count = std::min(kRun, pixels - first);
        const std::int64_t begin = r / runs * channels * pixels + first;
        const float *g = src[0].as<const float>() + begin, *x = src[1].as<const float>() + begin;
        float* to = dst[0].as<float>() + begin;
        const auto around = [&](std::int64_t c, auto&& f) {
          for (std::int64_t n = std::max<std::int64_t>(c - half, 0);
               n < std::min(c + half + 1, channels); ++n)
            f(n);
        };
        for (std::int64_t c = 0; c < channels; ++c) {
          for (std::int64_t i = 0; i < count; ++i) {
            float sum = 0;
            around(c, [&](std::int64_t n) { sum += x[n * pixels + i] * x[n * pixels + i]; });
            const float s = base + weight * sum;
            const auto at = static_cast<std::size_t>(c * kRun + i);
            bases[at] = std::pow(s, -beta);
            parts[at] = g[c * pixels + i] * x[c * pixels + i] * bases[at] / s;
          }
        }
        for (std::int64_t c = 0; c < channels; ++c) {
          for (std::int64_t i = 0; i < count; ++i) {
            float sum = 0;
            around(c, [&](std::int64_t n) { sum += parts[static_cast<std::size_t>(n * kRun + i)]; });
            to[c * pixels + i] = g[c * pixels + i] * bases[static_cast<std::size_t>(c * kRun + i)] -
                                 2 * beta * weight * x[c * pixels + i] * sum;
          }
        }
      }
    }
  };
}

class TrainingProvider final : public Provider {
 public:
  std::string name() const override { return "training"; }

  void offer(const Call& call, const Cpu& cpu, std::vector<Offer>& offers) const override {
    if (!all_f32(call)) return;
    const auto* lrn = call.op.as<LrnGrad>();
    const bool is_ours = call.op.as<Update>() || call.op.as<Dropout>() || call.op.as<Reduce>() ||
                         call.op.as<PoolGrad>() || (lrn && lrn->lrn.region == Lrn::Region::across);
    const bool is_unary = call.op.as<UnaryGrad>() != nullptr;
    if (!is_ours && !is_unary) return;
    double bytes = 0;
    for (const TensorDesc& desc : call.src) bytes += 4 * static_cast<double>(desc.count());
    const double seconds = memory_seconds(2 * bytes);
    const auto add = [&](Layout layout) {
      offers.push_back(same_layout_offer(*this, call, layout, seconds));
      offers.back().in_place = is_unary || call.op.as<Update>() || call.op.as<Dropout>();
    };
    if (!is_unary) return add(Layout::plain());
    // The padding of blocks is zero, where some functions have no derivative.
    const bool keeps_padding = std::isfinite(call.op.as<UnaryGrad>()->derivative(0));
    for (const Layout& layout :
         keeps_padding ? natural_layouts(call, cpu) : std::vector{Layout::plain()})
      add(layout);
  }

  std::unique_ptr<Kernel> compile(const Call& call, const Cpu&) const override {
    return host_kernel(std::string(call.op.name()), function_of(call));
  }

 private:
  static HostFunction function_of(const Call& call) {
    if (const auto* grad = call.op.as<UnaryGrad>()) return unary_grad(*grad);
    if (const auto* step = call.op.as<Update>()) return update(*step);
    if (const auto* drop = call.op.as<Dropout>()) return dropout(*drop);
    if (const auto* grad = call.op.as<PoolGrad>()) return pool_grad(*grad);
    if (const auto* grad = call.op.as<LrnGrad>()) return lrn_grad(grad->lrn);
    return reduce(cover(call.src[0].shape, call.dst[0].shape, call.op.as<Reduce>()->axis));
  }
};

}  // namespace

std::unique_ptr<Provider> training_provider() { return std::make_unique<TrainingProvider>(); }

}  // namespace maru::cpu
