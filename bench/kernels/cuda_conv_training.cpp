// The three products of each convolution that is trained, by the CUDA backend: the result, and the
// gradients by data and by weights, with weights that change, packing and sums of splits included.
// GoogLeNet's layers as they are written. Each is the planner's choice; with `check`, its result is
// compared with that of the plain function.
//
//   build/release/bench/kernels/cuda_conv_training [fp16|tf32|fp32] [batch] [check] [layers, e.g.
//   3a/3x3]
#include <algorithm>
#include <chrono>
#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <string>
#include <vector>

#include "backends/cuda/cuda.h"
#include "base/error.h"
#include "ops/conv.h"
#include "ops/conv_grad.h"
#include "tensor/half.h"

namespace {

using namespace maru;

struct Layer {
  std::string name;
  std::int64_t inputs, size, outputs, kernel, stride, pad;
};

void add_inception(std::vector<Layer>& all, const std::string& name, std::int64_t size,
                   std::int64_t inputs, std::initializer_list<std::int64_t> outputs) {
  const std::vector<std::int64_t> n(outputs);
  all.push_back({name + "/1x1", inputs, size, n[0], 1, 1, 0});
  all.push_back({name + "/3x3r", inputs, size, n[1], 1, 1, 0});
  all.push_back({name + "/3x3", n[1], size, n[2], 3, 1, 1});
  all.push_back({name + "/5x5r", inputs, size, n[3], 1, 1, 0});
  all.push_back({name + "/5x5", n[3], size, n[4], 5, 1, 2});
  all.push_back({name + "/pool", inputs, size, n[5], 1, 1, 0});
}

std::vector<Layer> googlenet() {
  std::vector<Layer> all{
      {"1", 3, 224, 64, 7, 2, 3}, {"2r", 64, 56, 64, 1, 1, 0}, {"2", 64, 56, 192, 3, 1, 1}};
  add_inception(all, "3a", 28, 192, {64, 96, 128, 16, 32, 32});
  add_inception(all, "3b", 28, 256, {128, 128, 192, 32, 96, 64});
  add_inception(all, "4a", 14, 480, {192, 96, 208, 16, 48, 64});
  add_inception(all, "4b", 14, 512, {160, 112, 224, 24, 64, 64});
  add_inception(all, "4c", 14, 512, {128, 128, 256, 24, 64, 64});
  add_inception(all, "4d", 14, 512, {112, 144, 288, 32, 64, 64});
  add_inception(all, "4e", 14, 528, {256, 160, 320, 32, 128, 128});
  add_inception(all, "5a", 7, 832, {256, 160, 320, 32, 128, 128});
  add_inception(all, "5b", 7, 832, {384, 192, 384, 48, 128, 128});
  return all;
}

class Bench {
 public:
  Bench(const Device& device, DType dtype, std::int64_t batch, bool checks)
      : device_(device), dtype_(dtype), batch_(batch), checks_(checks), queue_(device.make_queue()) {
    for (const Heap* heap : device.heaps()) {
      if (local_ == nullptr && heap->traits().device_visible) local_ = heap;
      if (staging_ == nullptr && heap->traits().host_visible) staging_ = heap;
    }
  }

  void run(const Layer& layer) {
    const std::int64_t size = (layer.size + 2 * layer.pad - layer.kernel) / layer.stride + 1;
    const Window window{
        {layer.kernel, layer.kernel}, {layer.stride, layer.stride}, {layer.pad, layer.pad}};
    const auto desc = [&](Shape shape) { return TensorDesc{dtype_, shape, Layout::plain()}; };
    const TensorDesc data = desc({batch_, layer.inputs, layer.size, layer.size});
    const TensorDesc result = desc({batch_, layer.outputs, size, size});
    const TensorDesc weight = desc({layer.outputs, layer.inputs, layer.kernel, layer.kernel});
    Conv conv;
    conv.outputs = layer.outputs;
    conv.window = window;
    conv.activation = Unary{};
    ConvGradWeight grad{window};
    grad.widen = true;
    const double flops =
        2.0 * static_cast<double>(result.count() * weight.count()) / static_cast<double>(layer.outputs);
    std::printf("%-8s", layer.name.c_str());
    product(0, conv, {data, weight, desc({layer.outputs})}, flops);
    if (layer.inputs > 3)
      product(1, ConvGradData{window, 1, {layer.size, layer.size}}, {result, weight}, flops);
    product(2, grad, {data, result}, flops);
    std::printf("\n");
    std::fflush(stdout);
  }

  bool finish() const {
    const double all = total_[0] + total_[1] + total_[2];
    std::printf("result %.1f us, data %.1f us, weights %.1f us: %.0f images/s\n", total_[0] * 1e6,
                total_[1] * 1e6, total_[2] * 1e6, static_cast<double>(batch_) / all);
    return !failed_;
  }

 private:
  struct Bound {
    std::unique_ptr<Kernel> kernel;
    std::vector<Buffer> buffers;
    std::unique_ptr<Launch> launch;
    TensorDesc dst;
  };

  void product(std::size_t which, const Op& op, const std::vector<TensorDesc>& src, double flops) {
    const std::vector<TensorDesc> dst = op.infer(src);
    std::vector<TensorDesc> open_src = src, open_dst = dst;
    for (TensorDesc& desc : open_src) desc.layout = Layout::any();
    for (TensorDesc& desc : open_dst) desc.layout = Layout::any();
    const auto constant = std::make_unique<bool[]>(src.size());
    const auto offers = device_.offers({op, open_src, open_dst, {constant.get(), src.size()}});
    const auto best = std::ranges::min_element(offers, {}, &Offer::seconds);
    const Bound chosen = bind(op, src, dst, *best);
    const double seconds = time(chosen);
    total_[which] += seconds;
    std::printf(" | %8.1f us %6.1f TFLOP/s %-36s", seconds * 1e6, flops / seconds * 1e-12,
                chosen.kernel->name().c_str());
    if (!checks_ || best->src[0].kind != Layout::Kind::channels_last) return;
    const auto plain = std::ranges::find_if(offers, [&](const Offer& offer) {
      return offer.kernel.ends_with("plain") && offer.src == best->src && offer.dst == best->dst;
    });
    if (plain == offers.end()) return;
    const Bound reference = bind(op, src, dst, *plain);
    reference.launch->run(*queue_);
    queue_->finish();
    const double error = difference(values(reference), values(chosen));
    if (error <= (dtype_ == DType::f16 ? 1e-3 : 2e-3)) return;
    std::printf(" WRONG by %.1e", error);
    failed_ = true;
  }

  Bound bind(const Op& op, std::vector<TensorDesc> src, std::vector<TensorDesc> dst,
             const Offer& offer) const {
    Bound bound;
    for (std::size_t i = 0; i < src.size(); ++i) src[i].layout = offer.src[i];
    for (std::size_t i = 0; i < dst.size(); ++i) dst[i].layout = offer.dst[i];
    const auto constant = std::make_unique<bool[]>(src.size());
    bound.kernel = device_.compile({op, src, dst, {constant.get(), src.size()}}, offer);
    const std::size_t workspace = bound.kernel->workspace_bytes();
    for (const TensorDesc& desc : src) {
      bound.buffers.push_back(local_->allocate(desc.bytes(), "an operand"));
      fill(bound.buffers.back(), desc);
    }
    bound.buffers.push_back(local_->allocate(dst[0].bytes(), "a result"));
    bound.buffers.push_back(local_->allocate(std::max<std::size_t>(workspace, 1), "a workspace"));
    std::vector<Tensor> operands;
    for (std::size_t i = 0; i < src.size(); ++i) operands.push_back({src[i], &bound.buffers[i], 0});
    const std::vector<Tensor> results{{dst[0], &bound.buffers[src.size()], 0}};
    bound.launch =
        bound.kernel->bind(operands, results,
                           {{DType::u8, {static_cast<std::int64_t>(workspace)}, Layout::plain()},
                            &bound.buffers.back(),
                            0});
    bound.dst = dst[0];
    return bound;
  }

  // The same million numbers again and again, of which halves have all.
  void fill(const Buffer& buffer, const TensorDesc& desc) const {
    const std::size_t size = size_of(desc.dtype), some = std::min<std::size_t>(desc.bytes(), 1 << 22);
    const Buffer copy = staging_->allocate(some, "numbers");
    {
      const HostView view = copy.map(Access::write);
      std::uint32_t state = 20161122;
      const bool is_blocked = desc.layout.kind == Layout::Kind::blocked;
      for (std::size_t i = 0; i < some / size; ++i) {
        state = state * 1664525 + 1013904223;
        float value = static_cast<float>(static_cast<int>(state >> 24) - 128) / 512;
        if (is_blocked && static_cast<std::int64_t>(i % 4) >= desc.shape[1]) value = 0;
        const std::uint16_t half = to_half(value);
        std::memcpy(view.bytes().data() + i * size,
                    size == 2 ? static_cast<const void*>(&half) : &value, size);
      }
    }
    for (std::size_t at = 0; at < buffer.bytes(); at += some)
      device_.transfer(*queue_, copy, 0, buffer, at, std::min(some, buffer.bytes() - at));
  }

  std::vector<float> values(const Bound& bound) const {
    const Buffer& buffer = bound.buffers[bound.buffers.size() - 2];
    const Buffer copy = staging_->allocate(buffer.bytes(), "a result");
    device_.transfer(*queue_, buffer, 0, copy, 0, buffer.bytes());
    const HostView view = copy.map(Access::read);
    if (bound.dst.dtype == DType::f32) {
      const std::span<float> floats = view.as<float>();
      return {floats.begin(), floats.end()};
    }
    std::vector<float> result;
    for (const std::uint16_t half : view.as<std::uint16_t>()) result.push_back(from_half(half));
    return result;
  }

  // The largest, of the largest result.
  static double difference(const std::vector<float>& wanted, const std::vector<float>& got) {
    double most = 1e-3, worst = 0;
    for (std::size_t i = 0; i < wanted.size(); ++i) {
      const double off = std::fabs(static_cast<double>(wanted[i]) - static_cast<double>(got[i]));
      most = std::max(most, std::fabs(static_cast<double>(wanted[i])));
      if (!(off <= worst)) worst = off;
    }
    return worst / most;
  }

  // The median of rows of launches, one after the other as a graph has them.
  double time(const Bound& bound) const {
    constexpr std::size_t kLaunches = 20, kRows = 7;
    std::vector<OrderedLaunch> row(kLaunches);
    for (std::size_t i = 0; i < kLaunches; ++i) {
      row[i].launch = bound.launch.get();
      if (i > 0) row[i].after = {i - 1};
    }
    const auto graph = device_.combine(row);
    std::vector<double> all;
    for (std::size_t i = 0; i < kRows + 1; ++i) {
      const auto start = std::chrono::steady_clock::now();
      graph->run(*queue_);
      queue_->finish();
      const std::chrono::duration<double> took = std::chrono::steady_clock::now() - start;
      if (i > 0) all.push_back(took.count() / kLaunches);
    }
    std::ranges::sort(all);
    return all[all.size() / 2];
  }

  const Device& device_;
  DType dtype_;
  std::int64_t batch_;
  bool checks_, failed_ = false;
  std::unique_ptr<Queue> queue_;
  const Heap *local_ = nullptr, *staging_ = nullptr;
  double total_[3] = {};
};

}  // namespace

int main(int argc, char** argv) try {
  const std::vector<std::string> words(argv + 1, argv + argc);
  const std::string type = words.empty() ? "fp16" : words[0];
  const std::int64_t batch = words.size() > 1 ? std::atoll(words[1].c_str()) : 128;
  const bool checks = words.size() > 2 && words[2] == "check";
  DeviceOptions options;
  options.precision = type == "fp16"   ? Precision::fp16
                      : type == "tf32" ? Precision::tf32
                                       : Precision::fp32;
  options.report = [](const Absence& absence) { std::fprintf(stderr, "%s\n", absence.why.what()); };
  const auto devices = cuda_devices(options);
  if (devices.empty()) return 2;
  std::printf("%s\n", devices[0]->description().c_str());
  Bench bench(*devices[0], type == "fp16" ? DType::f16 : DType::f32, batch, checks);
  for (const Layer& layer : googlenet()) {
    if (words.size() > 3 && std::find(words.begin() + 3, words.end(), layer.name) == words.end())
      continue;
    bench.run(layer);
  }
  return bench.finish() ? 0 : 1;
} catch (const maru::Error& error) {
  std::fprintf(stderr, "%s\n", error.what());
  return 2;
}
