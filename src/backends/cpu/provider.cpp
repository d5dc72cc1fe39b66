#include "backends/cpu/provider.h"

#include <algorithm>

namespace maru::cpu {
namespace {

class HostKernel final : public Kernel {
 public:
  HostKernel(std::string name, HostFunction function, std::size_t workspace)
      : name_(std::move(name)), function_(std::move(function)), workspace_(workspace) {}

  std::string name() const override { return name_; }
  std::size_t workspace_bytes() const override { return workspace_; }
  std::unique_ptr<Launch> bind(std::span<const Tensor> src, std::span<const Tensor> dst,
                               const Tensor& workspace) const override {
    auto launch = std::make_unique<HostLaunch>(function_);
    std::ranges::transform(src, std::back_inserter(launch->src), view);
    std::ranges::transform(dst, std::back_inserter(launch->dst), view);
    if (workspace_ > 0) {
      launch->workspace = {static_cast<std::byte*>(address(workspace)), workspace_};
    }
    return launch;
  }

 private:
  struct HostLaunch final : Launch {
    explicit HostLaunch(const HostFunction& f) : function(f) {}
    void run(Queue&) override { function(src, dst, workspace); }

    const HostFunction& function;  // of the kernel, which outlives its launches
    std::vector<TensorView> src, dst;
    std::span<std::byte> workspace;
  };

  std::string name_;
  HostFunction function_;
  std::size_t workspace_;
};

}  // namespace

std::vector<std::unique_ptr<Provider>> providers() {
  std::vector<std::unique_ptr<Provider>> all;
  all.push_back(conv_provider());
  all.push_back(winograd_provider());
  all.push_back(pool_provider());
  all.push_back(lrn_provider());
  all.push_back(inner_product_provider());
  all.push_back(unary_provider());
  all.push_back(softmax_provider());
  all.push_back(batch_norm_provider());
  all.push_back(batch_norm_training_provider());
  all.push_back(copy_provider());
  all.push_back(channelwise_provider());
  all.push_back(eltwise_provider());
  all.push_back(preprocess_provider());
  all.push_back(conv_training_provider());
  all.push_back(inner_product_training_provider());
  all.push_back(training_provider());
  all.push_back(all_reduce_provider());
  all.push_back(reference_provider());
  return all;
}

std::unique_ptr<Kernel> host_kernel(std::string name, HostFunction function, std::size_t workspace) {
  return std::make_unique<HostKernel>(std::move(name), std::move(function), workspace);
}

Offer same_layout_offer(const Provider& provider, const Call& call, Layout layout, double seconds) {
  Offer offer;
  offer.kernel = provider.name();
  offer.src.assign(call.src.size(), layout);
  offer.dst.assign(call.dst.size(), layout);
  offer.seconds = seconds;
  return offer;
}

std::vector<Layout> natural_layouts(const Call& call, const Cpu& cpu) {
  const TensorDesc& first = call.src[0];
  const Layout layout = first.layout.dense();
  if (layout.kind == Layout::Kind::plain || layout.kind == Layout::Kind::blocked) {
    return {layout};
  }
  if (first.shape.rank() == 4 && cpu.block > 1) return {Layout::plain(), Layout::blocked(cpu.block)};
  return {Layout::plain()};
}

bool all_f32(const Call& call) {
  const auto is_f32 = [](const TensorDesc& desc) { return desc.dtype == DType::f32; };
  return std::ranges::all_of(call.src, is_f32) && std::ranges::all_of(call.dst, is_f32);
}

double compute_seconds(const Cpu& cpu, double flops, double flops_per_second_and_thread) {
  return flops / (flops_per_second_and_thread * cpu.threads);
}

double memory_seconds(double bytes) {
  constexpr double kBytesPerSecond = 10e9;
  return bytes / kBytesPerSecond;
}

}  // namespace maru::cpu
