#include <algorithm>

#include "backends/cpu/provider.h"
#include "ops/all_reduce.h"
#include "ops/cast.h"
#include "ops/preprocess.h"

namespace maru::cpu {
namespace {

// The operators' own plain kernels: slow, right, and there for every operator.
class ReferenceProvider final : public Provider {
 public:
  std::string name() const override { return "reference"; }

  void offer(const Call& call, const Cpu&, std::vector<Offer>& offers) const override {
    const bool takes_others = call.op.as<Cast>() != nullptr ||
                              (call.op.as<Preprocess>() != nullptr && call.dst[0].dtype == DType::f32);
    if ((!takes_others && !all_f32(call)) || is_shared(call.op)) return;
    std::vector<TensorDesc> src(call.src.begin(), call.src.end()),
        dst(call.dst.begin(), call.dst.end());
    for (TensorDesc& desc : src) desc.layout = Layout::plain();
    for (TensorDesc& desc : dst) desc.layout = Layout::plain();
    constexpr double kFlopsPerSecond = 0.5e9;
    const Cost cost = call.op.cost(src, dst);
    offers.push_back(same_layout_offer(*this, call, Layout::plain(),
                                       cost.flops / kFlopsPerSecond + 10 * memory_seconds(cost.bytes)));
  }

  std::unique_ptr<Kernel> compile(const Call& call, const Cpu&) const override {
    const Op op = call.op;
    return host_kernel("reference " + std::string(op.name()),
                       [op](Views src, Views dst, std::span<std::byte>) { op.reference(src, dst); });
  }
};

}  // namespace

std::unique_ptr<Provider> reference_provider() { return std::make_unique<ReferenceProvider>(); }

}  // namespace maru::cpu
