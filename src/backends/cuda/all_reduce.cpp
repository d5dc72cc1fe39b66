// Means over the ranks, by NCCL: a bucket is one launch, which runs beside what it does not wait for.
#include "ops/all_reduce.h"

#include "backends/cuda/launch.h"
#include "backends/cuda/provider.h"
#include "backends/cuda/ranks.h"

namespace maru::cuda {
namespace {

class AllReduceKernel final : public Kernel {
 public:
  AllReduceKernel(const Runtime& runtime, maru_cuda_ranks* ranks) : runtime_(runtime), ranks_(ranks) {}

  std::string name() const override { return "all_reduce nccl"; }

  std::unique_ptr<Launch> bind(std::span<const Tensor> src, std::span<const Tensor> dst,
                               const Tensor& workspace) const override {
    const Bound bound(src, dst, workspace);
    auto mean = std::make_unique<Mean>();
    for (std::size_t i = 0; i < src.size(); ++i) {
      mean->src.push_back(bound.src<float>(i));
      mean->dst.push_back(bound.dst<float>(i));
      mean->elements.push_back(static_cast<std::size_t>(src[i].desc.count()));
    }
    mean->all = {ranks_, mean->src.data(), mean->dst.data(), mean->elements.data(), src.size()};
    std::vector<CudaLaunch::One> all;
    all.push_back({{}, {}, std::move(mean)});
    return std::make_unique<CudaLaunch>(runtime_, std::move(all));
  }

 private:
  const Runtime& runtime_;
  maru_cuda_ranks* ranks_;
};

class AllReduceProvider final : public Provider {
 public:
  std::string name() const override { return "all_reduce"; }

  void offer(const Call& call, const Runtime& runtime, std::vector<Offer>& offers) const override {
    const auto* reduce = call.op.as<AllReduce>();
    if (reduce == nullptr || !runtime.ranks || reduce->ranks != runtime.ranks->count()) return;
    double bytes = 0;
    for (const TensorDesc& desc : call.src) {
      if (desc.dtype != DType::f32) return;
      bytes += static_cast<double>(desc.bytes());
    }
    constexpr double kSecondsAMessage = 20e-6;
    offers.push_back(same_layout_offer(*this, call, Layout::plain(),
                                       kSecondsAMessage + memory_seconds(runtime, 4 * bytes)));
    offers.back().in_place = true;
  }

  std::unique_ptr<Kernel> compile(const Call&, const Offer&, const Runtime& runtime) const override {
    return std::make_unique<AllReduceKernel>(runtime, runtime.ranks->get());
  }
};

}  // namespace

std::unique_ptr<Provider> all_reduce_provider() { return std::make_unique<AllReduceProvider>(); }

}  // namespace maru::cuda
