// Batch normalisation in training: own loops over plain and blocked tensors. A task is one image of one
// block of channels; its sums are kept apart and added up in the order of images, so that the result is
// the same for any number of threads.
#include "ops/batch_norm_training.h"

#include <algorithm>
#include <cmath>

#include "backends/cpu/provider.h"
#include "ops/batch_norm.h"
#include "ops/batch_norm_grad.h"
#include "ops/running_statistics.h"

namespace maru::cpu {
namespace {

constexpr int kMostBlock = 16;

// How a tensor lies: blocks of channels side by side, pixels of images one after the other.
struct Blocks {
  explicit Blocks(const TensorDesc& desc) {
    const Extents extents = BatchNormTraining::channels_of(desc.shape);
    block = desc.layout.block;
    images = extents.outer;
    channels = extents.middle;
    pixels = extents.inner;
    blocks = (channels + block - 1) / block;
  }
  std::int64_t tasks() const { return images * blocks; }
  std::int64_t stored_channels() const { return blocks * block; }
  std::int64_t elements() const { return images * pixels; }  // of a channel
  // Bytes of two sums of each task, in double: sums of squares of what is far from zero need it.
  std::size_t sum_bytes() const {
    return 2 * static_cast<std::size_t>(tasks() * block) * sizeof(double);
  }

  std::int64_t images, channels, pixels, blocks;
  std::int64_t block;
};

// Calls f with the number of channels in a block as a constant.
template <class F>
void for_block(std::int64_t block, F&& f) {
  switch (block) {
    case 1:
      return f(std::integral_constant<int, 1>());
    case 4:
      return f(std::integral_constant<int, 4>());
    case 8:
      return f(std::integral_constant<int, 8>());
    default:
      return f(std::integral_constant<int, kMostBlock>());
  }
}
bool has_block(std::int64_t block) {
  return block == 1 || block == 4 || block == 8 || block == kMostBlock;
}

// Two sums over the pixels of a task, for each channel of its block, of which the first is `first`:
// each(i, channel, a, b) adds what element i gives.
template <int B, class Each>
void sum_task(std::int64_t begin, std::int64_t pixels, std::int64_t first, double* sums,
              const Each& each) {
  if constexpr (B == 1) {
    double a = 0, b = 0;
#pragma omp simd reduction(+ : a, b)
    for (std::int64_t i = begin; i < begin + pixels; ++i) each(i, first, a, b);
    sums[0] = a;
    sums[1] = b;
  } else {
    double a[B] = {}, b[B] = {};
    for (std::int64_t p = 0; p < pixels; ++p) {
#pragma omp simd
      for (int lane = 0; lane < B; ++lane) each(begin + p * B + lane, first + lane, a[lane], b[lane]);
    }
    std::copy_n(a, B, sums);
    std::copy_n(b, B, sums + B);
  }
}

// The sums of a channel over all images.
std::array<double, 2> total(const Blocks& of, const double* sums, std::int64_t channel) {
  std::array<double, 2> result{};
  const std::int64_t block = channel / of.block, lane = channel % of.block;
  for (std::int64_t n = 0; n < of.images; ++n) {
    const double* task = sums + 2 * of.block * (n * of.blocks + block);
    result[0] += task[lane];
    result[1] += task[of.block + lane];
  }
  return result;
}

// Per stored channel, in the workspace; those that fill the last block have zeros, and so gives what is
// computed with them.
struct Coefficients {
  Coefficients(const Blocks& of, float* at) : count(of.stored_channels()), begin(at) {}
  float* operator[](std::int64_t which) const { return begin + which * count; }
  static std::size_t bytes(const Blocks& of, std::int64_t which) {
    return static_cast<std::size_t>(which * of.stored_channels()) * sizeof(float);
  }
  std::int64_t count;
  float* begin;
};

template <int B, class F>
void write_blocks(const Blocks& of, float* dst, const F& f) {
  const std::int64_t tasks = of.tasks(), pixels = of.pixels;
#pragma omp parallel for
  for (std::int64_t task = 0; task < tasks; ++task) {
    const std::int64_t begin = task * pixels * B, first = task % of.blocks * B;
    if constexpr (B == 1) {
#pragma omp simd
      for (std::int64_t i = begin; i < begin + pixels; ++i) dst[i] = f(i, first);
    } else {
      for (std::int64_t p = 0; p < pixels; ++p) {
#pragma omp simd
        for (int lane = 0; lane < B; ++lane) {
          const std::int64_t i = begin + p * B + lane;
          dst[i] = f(i, first + lane);
        }
      }
    }
  }
}
// dst[i] = f(i, channel) for all elements.
template <class F>
void write_all(const Blocks& of, float* dst, const F& f) {
  for_block(of.block, [&](auto block) { write_blocks<decltype(block)::value>(of, dst, f); });
}

template <int B, class Each>
void sum_blocks(const Blocks& of, double* sums, const Each& each) {
  const std::int64_t tasks = of.tasks(), pixels = of.pixels;
#pragma omp parallel for
  for (std::int64_t task = 0; task < tasks; ++task)
    sum_task<B>(task * pixels * B, pixels, task % of.blocks * B, sums + task * 2 * B, each);
}
// The sums of each task.
template <class Each>
void sum_all(const Blocks& of, double* sums, const Each& each) {
  for_block(of.block, [&](auto block) { sum_blocks<decltype(block)::value>(of, sums, each); });
}

// y = slope((x - mean) factor + shift)
void normalise(const Blocks& of, const float* x, const Coefficients& c, std::optional<float> slope,
               float* y) {
  const float *mean = c[0], *factor = c[1], *shift = c[2];
  if (!slope)
    return write_all(of, y, [=](std::int64_t i, std::int64_t channel) {
      return (x[i] - mean[channel]) * factor[channel] + shift[channel];
    });
  write_all(of, y, [=, negative = *slope](std::int64_t i, std::int64_t channel) {
    const float z = (x[i] - mean[channel]) * factor[channel] + shift[channel];
    return z > 0 ? z : negative * z;
  });
}

std::optional<float> slope_of(const BatchNormTraining& norm) {
  if (!norm.activation) return std::nullopt;
  return static_cast<float>(norm.activation->alpha);
}

std::size_t training_workspace(const Blocks& of) { return of.sum_bytes() + Coefficients::bytes(of, 3); }

HostFunction training(const BatchNormTraining& norm, const Blocks& of) {
  return [norm, of](Views src, Views dst, std::span<std::byte> workspace) {
    const float* x = src[0].as<const float>();
    auto* sums = reinterpret_cast<double*>(workspace.data());
    const Coefficients c(of, reinterpret_cast<float*>(workspace.data() + of.sum_bytes()));
    std::fill_n(c.begin, 3 * c.count, 0.0F);
    sum_all(of, sums, [=](std::int64_t i, std::int64_t, double& a, double& b) {
      const auto value = static_cast<double>(x[i]);
      a += value;
      b += value * value;
    });
    for (std::int64_t channel = 0; channel < of.channels; ++channel) {
      const auto [sum, squares] = total(of, sums, channel);
      const auto count = static_cast<double>(of.elements());
      const double mean = sum / count, variance = std::max(squares / count - mean * mean, 0.0);
      double factor = 1 / std::sqrt(variance + norm.epsilon), shift = 0;
      if (norm.affine) {
        factor *= static_cast<double>(src[1].as<const float>()[channel]);
        shift = static_cast<double>(src[2].as<const float>()[channel]);
      }
      c[0][channel] = dst[1].as<float>()[channel] = static_cast<float>(mean);
      dst[2].as<float>()[channel] = static_cast<float>(variance);
      c[1][channel] = static_cast<float>(factor);
      // What rounding the mean would shift all by.
      c[2][channel] = static_cast<float>(shift - (mean - static_cast<double>(c[0][channel])) * factor);
    }
    normalise(of, x, c, slope_of(norm), dst[0].as<float>());
  };
}

std::size_t gradient_workspace(const Blocks& of) { return of.sum_bytes() + Coefficients::bytes(of, 5); }

HostFunction gradient(const BatchNormTraining& norm, const Blocks& of) {
  return [norm, of](Views src, Views dst, std::span<std::byte> workspace) {
    const float *g = src[0].as<const float>(), *x = src[1].as<const float>();
    auto* sums = reinterpret_cast<double*>(workspace.data());
    const Coefficients c(of, reinterpret_cast<float*>(workspace.data() + of.sum_bytes()));
    std::fill_n(c.begin, 5 * c.count, 0.0F);
    float *mean = c[0], *factor = c[1], *shift = c[2], *by_x = c[3], *rest = c[4];
    const auto inverse_of = [&](std::int64_t channel) {
      return 1 / std::sqrt(static_cast<double>(src[3].as<const float>()[channel]) + norm.epsilon);
    };
    for (std::int64_t channel = 0; channel < of.channels; ++channel) {
      mean[channel] = src[2].as<const float>()[channel];
      const float scale = norm.affine ? src[4].as<const float>()[channel] : 1;
      factor[channel] = static_cast<float>(inverse_of(channel) * static_cast<double>(scale));
      shift[channel] = norm.affine ? src[5].as<const float>()[channel] : 0;
    }
    const float slope = slope_of(norm).value_or(1);
    const auto before_activation = [=](std::int64_t i, std::int64_t channel) {
      const float z = (x[i] - mean[channel]) * factor[channel] + shift[channel];
      return z > 0 ? g[i] : slope * g[i];
    };
    sum_all(of, sums, [=](std::int64_t i, std::int64_t channel, double& a, double& b) {
      const auto h = static_cast<double>(before_activation(i, channel));
      a += h;
      b += h * static_cast<double>(x[i] - mean[channel]);
    });
    for (std::int64_t channel = 0; channel < of.channels; ++channel) {
      const auto [sum, products] = total(of, sums, channel);
      const double inverse = inverse_of(channel), count = static_cast<double>(of.elements());
      const auto scale = static_cast<double>(factor[channel]);
      by_x[channel] = static_cast<float>(-scale * inverse * inverse * products / count);
      rest[channel] = static_cast<float>(-scale * sum / count);
      if (!norm.affine) continue;
      dst[1].as<float>()[channel] = static_cast<float>(products * inverse);
      dst[2].as<float>()[channel] = static_cast<float>(sum);
    }
    write_all(of, dst[0].as<float>(), [=](std::int64_t i, std::int64_t channel) {
      return factor[channel] * before_activation(i, channel) +
             (by_x[channel] * (x[i] - mean[channel]) + rest[channel]);
    });
  };
}

// By recorded statistics that are no constants, as a network has them that is being trained.
HostFunction recorded(const BatchNorm& norm, const Blocks& of) {
  return [norm, of](Views src, Views dst, std::span<std::byte> workspace) {
    const Coefficients c(of, reinterpret_cast<float*>(workspace.data()));
    std::fill_n(c.begin, 3 * c.count, 0.0F);
    const auto factor = static_cast<double>(*src[3].as<const float>());
    const double inverse = factor == 0 ? 0 : 1 / factor;
    for (std::int64_t channel = 0; channel < of.channels; ++channel) {
      const auto value = [&](std::size_t i) {
        return static_cast<double>(src[i].as<const float>()[channel]) * inverse;
      };
      c[0][channel] = static_cast<float>(value(1));
      c[1][channel] = static_cast<float>(1 / std::sqrt(value(2) + norm.epsilon));
      c[2][channel] = static_cast<float>((static_cast<double>(c[0][channel]) - value(1)) /
                                         std::sqrt(value(2) + norm.epsilon));
    }
    normalise(of, src[0].as<const float>(), c, std::nullopt, dst[0].as<float>());
  };
}

// Channels that only fill the last block stay zero: their coefficients are.
class BatchNormTrainingProvider final : public Provider {
 public:
  std::string name() const override { return "batch normalisation in training"; }

  void offer(const Call& call, const Cpu& cpu, std::vector<Offer>& offers) const override {
    if (!all_f32(call)) return;
    const auto* norm = call.op.as<BatchNorm>();
    const bool is_running = call.op.as<RunningStatistics>() != nullptr;
    const bool is_ours = call.op.as<BatchNormTraining>() || call.op.as<BatchNormGrad>() ||
                         (norm != nullptr && norm->takes_recorded()) || is_running;
    if (!is_ours) return;
    double bytes = 0;
    for (const TensorDesc& desc : call.src) bytes += 4 * static_cast<double>(desc.count());
    for (const Layout& layout :
         is_running ? std::vector{Layout::plain()} : natural_layouts(call, cpu)) {
      if (!has_block(layout.block)) continue;
      Offer offer = same_layout_offer(*this, call, layout, memory_seconds(3 * bytes));
      const std::size_t images = call.op.as<BatchNormGrad>() ? 2 : 1;  // operands of channels, too
      for (std::size_t i = images; i < offer.src.size(); ++i) offer.src[i] = Layout::plain();
      for (std::size_t i = 1; i < offer.dst.size(); ++i) offer.dst[i] = Layout::plain();
      // What is of channels is read before any of it is written. A vector of data has their shape.
      offer.in_place = is_running || call.src[0].shape.rank() > 1;
      offers.push_back(std::move(offer));
    }
  }

  std::unique_ptr<Kernel> compile(const Call& call, const Cpu&) const override {
    const std::string name(call.op.name());
    if (call.op.as<RunningStatistics>()) {
      return host_kernel(name, [op = call.op](Views src, Views dst, std::span<std::byte>) {
        op.reference(src, dst);  // element by element
      });
    }
    const Blocks of(call.src[0]);
    if (const auto* norm = call.op.as<BatchNormTraining>())
      return host_kernel(name, training(*norm, of), training_workspace(of));
    if (const auto* grad = call.op.as<BatchNormGrad>())
      return host_kernel(name, gradient(grad->norm, of), gradient_workspace(of));
    return host_kernel(name, recorded(*call.op.as<BatchNorm>(), of), Coefficients::bytes(of, 3));
  }
};

}  // namespace

std::unique_ptr<Provider> batch_norm_training_provider() {
  return std::make_unique<BatchNormTrainingProvider>();
}

}  // namespace maru::cpu
