// Convolutions of the CUDA backend (src/backends/cuda/kernels/conv_tile.cuh): GoogLeNet's, with sibling
// 1x1 layers merged, every tile and split that the planner may take. Each is checked first, against
// conv_plain. The floor is what the bytes (each once) or the multiply-adds take at what an H200 was
// measured to do.
//
//   build/release/bench/kernels/cuda_conv [f16|tf32|f32] [batch] [all|best] [layers, e.g. 3a1 5b3]
//
// bench/kernels/cuda_conv.py runs it beside cuDNN. docs/benchmarks/cuda.md has figures. Versions, whole
// GoogLeNet in f16 on an H200, 1 image and 128:
//   1  implicit product of matrices, 16-byte cp.async in 3 or 4 stages, ldmatrix, mma.sync, splits of
//   the
//      sum met through a cluster's shared memory: 196 us, 2706 us.
//   2  weights are loaded before pixels are worked out; a thread finishes the same 4 outputs of all its
//      pixels, so that biases, bounds and alignment are looked at once; taps tested by one mask; no
//      room for stages that a short sum never fills: 173 us, 2018 us. A third of the time had been the
//      arithmetic of addresses and edges.
//   3  small tiles with all matrices of a step loaded ahead and two sets of sums, up to 8 stages: 172
//   us,
//      2021 us. Predicted 20 % for one image, and wrong: launches and the first loads are what is left.
//   4  loads spread between the products of a step: 178 us, 2228 us. Taken back.
//   5  version 3 with the place of each pixel worked out by one thread instead of eight, and fewer
//   stages,
//      so that more blocks fit: 166 us, 1894 us.
#include <algorithm>
#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <random>
#include <string>
#include <vector>

#include "backends/cuda/conv_plan.h"
#include "backends/cuda/kernels/conv_plain.h"
#include "backends/cuda/runtime.h"
#include "base/error.h"
#include "tensor/half.h"

namespace {

using namespace maru::cuda;

struct Layer {
  const char* name;
  int inputs, size, outputs, kernel, stride, pad;
  int count;  // in the network
};

constexpr Layer kLayers[] = {{"1", 3, 224, 64, 7, 2, 3, 1},     {"2r", 64, 56, 64, 1, 1, 0, 1},
                             {"2", 64, 56, 192, 3, 1, 1, 1},    {"3a1", 192, 28, 176, 1, 1, 0, 1},
                             {"3a3", 96, 28, 128, 3, 1, 1, 1},  {"3a5", 16, 28, 32, 5, 1, 2, 1},
                             {"3ap", 192, 28, 32, 1, 1, 0, 1},  {"3b1", 256, 28, 288, 1, 1, 0, 1},
                             {"3b3", 128, 28, 192, 3, 1, 1, 1}, {"3b5", 32, 28, 96, 5, 1, 2, 1},
                             {"3bp", 256, 28, 64, 1, 1, 0, 1},  {"4a1", 480, 14, 304, 1, 1, 0, 1},
                             {"4a3", 96, 14, 208, 3, 1, 1, 1},  {"4a5", 16, 14, 48, 5, 1, 2, 1},
                             {"4ap", 480, 14, 64, 1, 1, 0, 1},  {"4b1", 512, 14, 296, 1, 1, 0, 1},
                             {"4b3", 112, 14, 224, 3, 1, 1, 1}, {"4b5", 24, 14, 64, 5, 1, 2, 2},
                             {"4bp", 512, 14, 64, 1, 1, 0, 3},  {"4c1", 512, 14, 280, 1, 1, 0, 1},
                             {"4c3", 128, 14, 256, 3, 1, 1, 1}, {"4d1", 512, 14, 288, 1, 1, 0, 1},
                             {"4d3", 144, 14, 288, 3, 1, 1, 1}, {"4d5", 32, 14, 64, 5, 1, 2, 1},
                             {"4e1", 528, 14, 448, 1, 1, 0, 1}, {"4e3", 160, 14, 320, 3, 1, 1, 1},
                             {"4e5", 32, 14, 128, 5, 1, 2, 1},  {"4ep", 528, 14, 128, 1, 1, 0, 1},
                             {"5a1", 832, 7, 448, 1, 1, 0, 1},  {"5a3", 160, 7, 320, 3, 1, 1, 1},
                             {"5a5", 32, 7, 128, 5, 1, 2, 1},   {"5ap", 832, 7, 128, 1, 1, 0, 2},
                             {"5b1", 832, 7, 624, 1, 1, 0, 1},  {"5b3", 192, 7, 384, 3, 1, 1, 1},
                             {"5b5", 48, 7, 128, 5, 1, 2, 1}};

ConvShape shape_of(const Layer& layer, int batch) {
  ConvShape shape;
  shape.images = batch;
  shape.channels = layer.inputs;
  shape.outputs = layer.outputs;
  shape.size = {layer.size, layer.size};
  shape.kernel = {layer.kernel, layer.kernel};
  shape.stride = {layer.stride, layer.stride};
  shape.pad = {layer.pad, layer.pad};
  const int result = (layer.size + 2 * layer.pad - layer.kernel) / layer.stride + 1;
  shape.result = {result, result};
  return shape;
}

// Of the device.
class Memory {
 public:
  Memory(const Runtime& runtime, std::size_t bytes) : runtime_(runtime) {
    runtime.check(runtime.api().allocate(runtime.ordinal(), MARU_CUDA_DEVICE, bytes, &memory_),
                  "cudaMalloc");
  }
  Memory(const Memory&) = delete;
  Memory& operator=(const Memory&) = delete;
  ~Memory() { runtime_.api().release(runtime_.ordinal(), MARU_CUDA_DEVICE, &memory_); }
  void* get() const { return memory_.device; }

 private:
  const Runtime& runtime_;
  maru_cuda_memory memory_{};
};

class Bench {
 public:
  Bench(const Runtime& runtime, ConvPlan::Math math, int batch, bool shows_all)
      : runtime_(runtime),
        stream_(runtime.make_stream()),
        math_(math),
        batch_(batch),
        shows_all_(shows_all) {}

  void run(const Layer& layer) {
    const ConvShape shape = shape_of(layer, batch_);
    const auto source = layer.inputs <= 4 ? ConvPlan::Source::four : ConvPlan::Source::channels;
    const int stored = source == ConvPlan::Source::four ? 4 : layer.inputs;
    const std::int64_t src_pixels = std::int64_t{batch_} * layer.size * layer.size;
    const auto plans =
        ConvPlan::candidates(shape, math_, source,
                             {runtime_.compute_capability(), runtime_.facts().multiprocessors,
                              runtime_.facts().shared_bytes});

    const std::vector<float> weights = draw(
        static_cast<std::size_t>(layer.outputs) * layer.inputs * layer.kernel * layer.kernel, 0.1f);
    std::vector<std::byte> packed(plans[0].packed_bytes());
    plans[0].pack(weights, packed);
    const std::size_t results = static_cast<std::size_t>(shape.pixels()) * layer.outputs;
    const Memory src(runtime_, static_cast<std::size_t>(src_pixels) * stored * element());
    const Memory plain_weights(runtime_, weights.size() * sizeof(float));
    const Memory tiled_weights(runtime_, packed.size()), bias(runtime_, layer.outputs * sizeof(float));
    const Memory dst(runtime_, results * element()), wanted(runtime_, results * element());
    std::size_t workspace_bytes = 1;
    for (const ConvPlan& plan : plans)
      workspace_bytes = std::max(workspace_bytes, plan.workspace_bytes());
    const Memory workspace(runtime_, workspace_bytes);
    fill(src, src_pixels, stored, layer.inputs);
    copy(plain_weights.get(), weights.data(), weights.size() * sizeof(float));
    copy(tiled_weights.get(), packed.data(), packed.size());
    const std::vector<float> biases = draw(static_cast<std::size_t>(layer.outputs), 1);
    copy(bias.get(), biases.data(), biases.size() * sizeof(float));
    plain(shape, src, stored, plain_weights, bias, wanted);
    const std::vector<std::byte> reference = bytes_of(wanted, results * element());

    double best = INFINITY, first = 0;
    std::string best_name;
    for (const ConvPlan& plan : plans) {
      if (plan.seconds > kHopeless * plans[0].seconds) break;
      ConvParams params = plan.params();
      params.src = src.get();
      params.weights = tiled_weights.get();
      params.bias = static_cast<const float*>(bias.get());
      params.dst = dst.get();
      params.activation.alpha = 0;
      params.src_pixel_stride = stored;
      params.dst_pixel_stride = layer.outputs;
      params.partial = plan.workspace_bytes() > 0 ? static_cast<float*>(workspace.get()) : nullptr;
      const ConvSumParams sum{params.partial, params.bias,   params.dst,    params.activation,
                              layer.outputs,  params.pixels, layer.outputs, plan.splits};
      const auto grid = plan.grid(), block = plan.block();
      std::vector<maru_cuda_launch> launches{{runtime_.find(plan.function()),
                                              {grid[0], grid[1], grid[2]},
                                              {block[0], block[1], block[2]},
                                              plan.shared_bytes(),
                                              plan.cluster(),
                                              &params}};
      if (params.partial != nullptr) {
        launches.push_back({runtime_.find(std::string("conv_sum_") + (is_half() ? "f16" : "f32")),
                            {static_cast<unsigned>((results + 255) / 256), 1, 1},
                            {256, 1, 1},
                            0,
                            1,
                            &sum});
      }
      for (const maru_cuda_launch& one : launches)
        runtime_.check(runtime_.api().launch(stream_.get(), &one), "cudaLaunchKernel");
      const double error = difference(reference, bytes_of(dst, results * element()));
      if (!(error <= (is_half() ? 1e-3 : math_ == ConvPlan::Math::tf32 ? 2e-3 : 1e-5))) {
        std::printf("%s %s is wrong by %.1e\n", layer.name, plan.name().c_str(), error);
        failed_ = true;
      }
      const double seconds = time(launches, plan.seconds);
      if (first == 0) first = seconds;
      if (seconds < best) best_name = plan.name();
      best = std::min(best, seconds);
      if (shows_all_) std::printf("  %-28s %8.2f us\n", plan.name().c_str(), seconds * 1e6);
    }
    const double flops =
        2.0 * static_cast<double>(results) * layer.inputs * layer.kernel * layer.kernel;
    const double bytes = static_cast<double>(src_pixels * layer.inputs) * element() +
                         static_cast<double>(results) * element() + static_cast<double>(packed.size());
    const double floor = std::max(flops / peak(), bytes / kPeakBytes);
    std::printf("%-4s x%d %8.2f us %6.1f TFLOP/s floor %7.2f us first %8.2f us %s\n", layer.name,
                layer.count, best * 1e6, flops / best * 1e-12, floor * 1e6, first * 1e6,
                best_name.c_str());
    std::fflush(stdout);
    const double counts[] = {best, first, floor, flops};
    for (std::size_t i = 0; i < 4; ++i) total_[i] += layer.count * counts[i];
  }

  bool finish() const {
    std::printf("all  %8.1f us %6.1f TFLOP/s floor %7.1f us first %8.1f us\n", total_[0] * 1e6,
                total_[3] / total_[0] * 1e-12, total_[2] * 1e6, total_[1] * 1e6);
    return !failed_;
  }

 private:
  // What an H200 was measured to do: a copy, a large product of matrices.
  static constexpr double kPeakBytes = 4.3e12, kPeakHalves = 790e12, kPeakFloats = 60e12;
  static constexpr double kHopeless = 3;

  double peak() const {
    return is_half() ? kPeakHalves : math_ == ConvPlan::Math::tf32 ? kPeakHalves / 2 : kPeakFloats;
  }
  bool is_half() const { return math_ == ConvPlan::Math::f16; }
  std::size_t element() const { return is_half() ? 2 : 4; }

  // Numbers that halves have, so that all arithmetics are given the same.
  std::vector<float> draw(std::size_t count, float scale) {
    std::uniform_real_distribution<float> distribution(-scale, scale);
    std::vector<float> values(count);
    for (float& value : values) value = maru::rounded_to_half(distribution(random_));
    return values;
  }

  void copy(void* to, const void* from, std::size_t bytes) const {
    runtime_.check(runtime_.api().copy(stream_.get(), to, from, bytes), "cudaMemcpy");
  }
  std::vector<std::byte> bytes_of(const Memory& memory, std::size_t bytes) const {
    std::vector<std::byte> result(bytes);
    copy(result.data(), memory.get(), bytes);
    return result;
  }

  // The same million numbers again and again.
  void fill(const Memory& memory, std::int64_t pixels, int stored, int channels) {
    const std::int64_t some = std::min<std::int64_t>(pixels, (1 << 20) / stored);
    const std::vector<float> values = draw(static_cast<std::size_t>(some * stored), 1);
    std::vector<std::byte> bytes(values.size() * element());
    for (std::size_t i = 0; i < values.size(); ++i) {
      const float value = static_cast<int>(i) % stored < channels ? values[i] : 0;
      const std::uint16_t half = maru::to_half(value);
      std::memcpy(bytes.data() + i * element(), is_half() ? static_cast<const void*>(&half) : &value,
                  element());
    }
    for (std::int64_t pixel = 0; pixel < pixels; pixel += some) {
      copy(static_cast<std::byte*>(memory.get()) + static_cast<std::size_t>(pixel * stored) * element(),
           bytes.data(), static_cast<std::size_t>(std::min(some, pixels - pixel) * stored) * element());
    }
  }

  void plain(const ConvShape& shape, const Memory& src, int stored, const Memory& weights,
             const Memory& bias, const Memory& dst) const {
    ConvPlainParams params{};
    params.src = src.get();
    params.weights = weights.get();
    params.bias = static_cast<const float*>(bias.get());
    params.dst = dst.get();
    params.activation.alpha = 0;
    params.geometry = {shape.size[0],
                       shape.size[1],
                       shape.result[0],
                       shape.result[1],
                       shape.kernel[0],
                       shape.kernel[1],
                       shape.stride[0],
                       shape.stride[1],
                       shape.pad[0],
                       shape.pad[1],
                       1,
                       1};
    params.src_strides = {std::int64_t{shape.size[0]} * shape.size[1] * stored, 1, stored};
    params.dst_strides = {std::int64_t{shape.result[0]} * shape.result[1] * shape.outputs, 1,
                          shape.outputs};
    params.weight_tap = 1;
    params.weight_input = shape.kernel[0] * shape.kernel[1];
    params.weight_output = params.weight_input * shape.channels;
    params.images = shape.images;
    params.inputs = shape.channels;
    params.outputs = shape.outputs;
    params.groups = 1;
    const std::int64_t results = shape.pixels() * shape.outputs;
    const maru_cuda_launch launch{
        runtime_.find(std::string("conv_plain_") + (is_half() ? "f16" : "f32")),
        {static_cast<unsigned>((results + 255) / 256), 1, 1},
        {256, 1, 1},
        0,
        1,
        &params};
    runtime_.check(runtime_.api().launch(stream_.get(), &launch), "cudaLaunchKernel");
  }

  // The largest, of the largest result.
  double difference(const std::vector<std::byte>& wanted, const std::vector<std::byte>& got) const {
    double most = 1e-3, worst = 0;
    const auto value = [&](const std::vector<std::byte>& bytes, std::size_t i) {
      if (!is_half()) return static_cast<double>(reinterpret_cast<const float*>(bytes.data())[i]);
      return static_cast<double>(
          maru::from_half(reinterpret_cast<const std::uint16_t*>(bytes.data())[i]));
    };
    // All of a few images, some of many.
    const std::size_t count = wanted.size() / element(), step = count > 10'000'000 ? 13 : 1;
    for (std::size_t i = 0; i < count; i += step) {
      const double expected = value(wanted, i), off = std::fabs(expected - value(got, i));
      most = std::max(most, std::fabs(expected));
      if (!(off <= worst)) worst = off;
    }
    return worst / most;
  }

  // The median of several rows of launches.
  double time(const std::vector<maru_cuda_launch>& launches, double guess) const {
    const auto times = static_cast<unsigned>(std::clamp(400e-6 / guess, 3.0, 40.0));
    std::vector<double> all(5);
    for (double& seconds : all) {
      runtime_.check(runtime_.api().time_launches(stream_.get(), launches.data(), launches.size(),
                                                  times, &seconds),
                     "cudaGraphLaunch");
    }
    std::ranges::sort(all);
    return all[all.size() / 2];
  }

  const Runtime& runtime_;
  StreamHandle stream_;
  ConvPlan::Math math_;
  int batch_;
  bool shows_all_, failed_ = false;
  double total_[4] = {};
  std::mt19937 random_{20161122};
};

}  // namespace

int main(int argc, char** argv) try {
  const std::vector<std::string> words(argv + 1, argv + argc);
  const std::string type = words.empty() ? "f16" : words[0];
  const int batch = words.size() > 1 ? std::atoi(words[1].c_str()) : 1;
  const bool shows_all = words.size() > 2 && words[2] == "all";
  const Runtime runtime(Module::open(), 0);
  std::printf("%s\n", runtime.description().c_str());
  Bench bench(runtime,
              type == "f16"    ? ConvPlan::Math::f16
              : type == "tf32" ? ConvPlan::Math::tf32
                               : ConvPlan::Math::f32,
              batch, shows_all);
  for (const Layer& layer : kLayers) {
    if (words.size() > 3 && std::find(words.begin() + 3, words.end(), layer.name) == words.end())
      continue;
    bench.run(layer);
  }
  return bench.finish() ? 0 : 1;
} catch (const maru::Error& error) {
  std::fprintf(stderr, "%s\n", error.what());
  return 2;
}
