#include "backends/cuda/kernels/batch_norm.h"

#include <algorithm>
#include <bit>

#include "backends/cuda/elements.h"
#include "ops/batch_norm_grad.h"
#include "ops/running_statistics.h"

namespace maru::cuda {
namespace {

constexpr std::int64_t kMostBlocksAlongY = 65535;  // CUDA's limit of a grid

// How blocks share out a tensor: each has some channels of some rows.
struct Division {
  // So many blocks for each multiprocessor, where there is enough to do.
  Division(const TensorDesc& data, unsigned multiprocessors, unsigned blocks_each) {
    const Images images(data);
    is_plain = data.layout.kind != Layout::Kind::channels_last && images.pixels > 1;
    const int vector = is_plain ? 1 : vector_of(data.dtype);
    rows = images.count * images.pixels;
    channels = images.channels;
    pixels = images.pixels;
    stride = is_plain || data.layout.kind != Layout::Kind::channels_last ? images.image_stride
                                                                         : images.pixel_stride;
    constexpr std::int64_t kMostLanes = 32, kRowsOfAThread = 4;
    const std::int64_t vectors = divide_up(channels, vector);
    lanes = is_plain
                ? 1
                : static_cast<unsigned>(std::min<std::int64_t>(
                      kMostLanes,
                      static_cast<std::int64_t>(std::bit_ceil(static_cast<std::uint64_t>(vectors)))));
    height = kBatchNormThreads / lanes;
    groups = divide_up(vectors, lanes);
    const std::int64_t wanted = std::int64_t{blocks_each} * multiprocessors / groups;
    const std::int64_t most = divide_up(rows, height * kRowsOfAThread);
    part_rows = divide_up(rows, std::clamp<std::int64_t>(wanted, 1, most));
    part_rows = divide_up(part_rows, height) * height;
    parts = divide_up(rows, part_rows);
  }

  std::array<unsigned, 3> grid() const {
    return {static_cast<unsigned>(parts), static_cast<unsigned>(groups), 1};
  }
  std::array<unsigned, 3> block() const { return {lanes, height, 1}; }

  bool is_plain;
  std::int64_t rows, channels, pixels, stride, groups, part_rows, parts;
  unsigned lanes, height;
};

struct Norm {
  BatchNormTraining attributes;
  bool is_gradient;
};

std::optional<Norm> norm_of(const Call& call) {
  if (const auto* training = call.op.as<BatchNormTraining>()) return Norm{*training, false};
  if (const auto* gradient = call.op.as<BatchNormGrad>()) return Norm{gradient->norm, true};
  return std::nullopt;
}

bool is_f32(const TensorDesc& desc) { return desc.dtype == DType::f32; }

// Where the parameters of a call are among its operands, and its workspace.
class Binding {
 public:
  Binding(const Call& call, const Norm& norm, const Division& reducing)
      : norm_(norm), size_(static_cast<std::int64_t>(size_of(call.src[0].dtype))), reducing_(reducing) {
    const std::size_t data = norm.is_gradient ? 2 : 1;
    for (std::size_t i = 0; i < data; ++i) strides_.push_back(Division(call.src[i], 1, 1).stride);
    dst_stride_ = Division(call.dst[0], 1, 1).stride;
  }

  std::size_t workspace_bytes() const {
    constexpr std::int64_t kCoefficients = 5;
    return parts_bytes() + static_cast<std::size_t>(kCoefficients * reducing_.channels) * sizeof(float);
  }

  // Of a launch that is divided so.
  BatchNormParams params(const Bound& bound, const Division& division) const {
    BatchNormParams p{};
    const auto data = [&](std::size_t operand) {
      const std::int64_t stride = strides_[operand];
      return BatchNormData{bound.src(operand), stride, is_aligned(bound.src(operand), stride * size_)};
    };
    p.x = data(norm_.is_gradient ? 1 : 0);
    p.dst = bound.dst(0);
    p.dst_stride = dst_stride_;
    p.is_dst_aligned = is_aligned(p.dst, dst_stride_ * size_);
    if (norm_.is_gradient) {
      p.gradient = data(0);
      p.mean = const_cast<float*>(bound.src<float>(2));  // is only read there
      p.variance = const_cast<float*>(bound.src<float>(3));
    } else {
      p.mean = bound.dst<float>(1);
      p.variance = bound.dst<float>(2);
    }
    if (norm_.attributes.affine) {
      const std::size_t scale = norm_.is_gradient ? 4 : 1;
      p.scale = bound.src<float>(scale);
      p.bias = bound.src<float>(scale + 1);
      if (norm_.is_gradient) {
        p.scale_gradient = bound.dst<float>(1);
        p.bias_gradient = bound.dst<float>(2);
      }
    }
    p.parts = bound.workspace<float>();
    p.coefficients = bound.workspace<float>(parts_bytes());
    p.rows = static_cast<std::uint32_t>(division.rows);
    p.channels = static_cast<std::uint32_t>(division.channels);
    p.pixels = static_cast<std::uint32_t>(division.pixels);
    p.part_rows = static_cast<std::uint32_t>(division.part_rows);
    p.part_count = static_cast<std::uint32_t>(division.parts);
    p.epsilon = static_cast<float>(norm_.attributes.epsilon);
    p.slope =
        norm_.attributes.activation ? static_cast<float>(norm_.attributes.activation->alpha) : 1.0F;
    return p;
  }

 private:
  std::size_t parts_bytes() const {
    return static_cast<std::size_t>(2 * reducing_.parts * reducing_.channels) * sizeof(float);
  }

  Norm norm_;
  std::int64_t size_;
  Division reducing_;
  std::vector<std::int64_t> strides_;  // of the operands that are data
  std::int64_t dst_stride_ = 0;
};

// Reads all twice: for what is summed up, and for the result.
class BatchNormProvider final : public Provider {
 public:
  std::string name() const override { return "batch_norm"; }

  void offer(const Call& call, const Runtime& runtime, std::vector<Offer>& offers) const override {
    const auto norm = norm_of(call);
    if (!norm || !is_countable(call)) return;
    const DType dtype = call.src[0].dtype;
    if ((dtype != DType::f32 && dtype != DType::f16) || call.dst[0].dtype != dtype) return;
    const std::size_t data = norm->is_gradient ? 2 : 1;
    if (call.src[data - 1].dtype != dtype || call.constant[0] || call.constant[data - 1]) return;
    // Statistics and parameters.
    if (!std::ranges::all_of(call.src.subspan(data), is_f32)) return;
    if (!std::ranges::all_of(call.dst.subspan(1), is_f32)) return;
    if (BatchNormTraining::channels_of(call.src[0].shape).middle > kMostBlocksAlongY) return;
    const double bytes = static_cast<double>(call.src[0].bytes());
    for (const Layout layout : natural_layouts(call)) {
      Offer offer = same_layout_offer(*this, call, layout,
                                      memory_seconds(runtime, bytes * (norm->is_gradient ? 5 : 3)));
      for (std::size_t i = data; i < offer.src.size(); ++i) offer.src[i] = Layout::plain();
      for (std::size_t i = 1; i < offer.dst.size(); ++i) offer.dst[i] = Layout::plain();
      offer.src_window = offer.dst_window = true;  // what is of channels cannot be one
      // What is of channels is read before any of it is written. A vector of data has their shape.
      offer.in_place = call.src[0].shape.rank() > 1;
      offers.push_back(std::move(offer));
    }
  }

  std::unique_ptr<Kernel> compile(const Call& call, const Offer&,
                                  const Runtime& runtime) const override {
    const Norm norm = *norm_of(call);
    const auto multiprocessors = static_cast<unsigned>(runtime.facts().multiprocessors);
    const Division reducing(call.src[0], multiprocessors, 4), writing(call.src[0], multiprocessors, 8);
    const Binding binding(call, norm, reducing);
    const auto params = [binding](const Division& division) {
      return [binding, division](const Bound& bound) { return binding.params(bound, division); };
    };
    const auto function = [&](const char* name) {
      return function_of(std::string(name) + (reducing.is_plain ? "_plain" : ""), call.src[0].dtype);
    };
    const auto over_data = [&](const char* name, const Division& division) {
      return stage(function(name), division.grid(), division.block(), params(division));
    };
    const auto over_parts = [&](const char* name) {
      const auto blocks = static_cast<unsigned>(divide_up(reducing.channels, kBatchNormChannels));
      return stage(name, {blocks, 1, 1}, {kBatchNormChannels, kBatchNormParts, 1}, params(reducing));
    };
    std::vector<Stage> stages;
    if (norm.is_gradient) {
      stages = {over_data("batch_norm_sums", reducing), over_parts("batch_norm_factors"),
                over_data("batch_norm_grad", writing)};
    } else {
      stages = {over_data("batch_norm_moments", reducing), over_parts("batch_norm_statistics"),
                over_data("batch_norm_result", writing)};
    }
    return std::make_unique<CudaKernel>(runtime,
                                        norm.is_gradient ? "batch_norm_grad" : "batch_norm_training",
                                        std::move(stages), binding.workspace_bytes());
  }
};

class RunningStatisticsProvider final : public Provider {
 public:
  std::string name() const override { return "running_statistics"; }

  void offer(const Call& call, const Runtime& runtime, std::vector<Offer>& offers) const override {
    if (!call.op.as<RunningStatistics>() || !is_countable(call)) return;
    if (!std::ranges::all_of(call.src, is_f32)) return;
    offers.push_back(same_layout_offer(*this, call, Layout::plain(), memory_seconds(runtime, 0)));
    offers.back().in_place = true;
  }

  std::unique_ptr<Kernel> compile(const Call& call, const Offer&,
                                  const Runtime& runtime) const override {
    const RunningStatistics& running = *call.op.as<RunningStatistics>();
    RunningStatisticsParams params{};
    params.channels = static_cast<std::uint32_t>(call.src[0].count());
    params.fraction = static_cast<float>(running.fraction);
    params.correction = static_cast<float>(running.correction());
    const auto bind = [params](const Bound& bound) {
      RunningStatisticsParams p = params;
      p.src_means = bound.src<float>(0);
      p.src_variances = bound.src<float>(1);
      p.src_factor = bound.src<float>(2);
      p.mean = bound.src<float>(3);
      p.variance = bound.src<float>(4);
      p.means = bound.dst<float>(0);
      p.variances = bound.dst<float>(1);
      p.factor = bound.dst<float>(2);
      return p;
    };
    return std::make_unique<CudaKernel>(
        runtime, "running_statistics",
        std::vector{spread(runtime, "running_statistics", std::int64_t{params.channels}, bind)});
  }
};

}  // namespace

std::unique_ptr<Provider> batch_norm_provider() { return std::make_unique<BatchNormProvider>(); }
std::unique_ptr<Provider> running_statistics_provider() {
  return std::make_unique<RunningStatisticsProvider>();
}

}  // namespace maru::cuda
