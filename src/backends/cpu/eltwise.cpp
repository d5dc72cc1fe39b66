#include "ops/eltwise.h"

#include <algorithm>

#include "backends/cpu/provider.h"

namespace maru::cpu {
namespace {

// Whole tensors as rows of floats, padding of blocks included: zeros stay harmless, since nobody reads
// padding but as zero weights' partner.
class EltwiseProvider final : public Provider {
 public:
  std::string name() const override { return "eltwise"; }

  void offer(const Call& call, const Cpu& cpu, std::vector<Offer>& offers) const override {
    const auto* eltwise = call.op.as<Eltwise>();
    if (eltwise == nullptr || !all_f32(call)) return;
    if (eltwise->activation && eltwise->activation->kind != Unary::Kind::relu) return;
    for (const Layout layout : natural_layouts(call, cpu)) {
      const double bytes = static_cast<double>(call.src[0].bytes() * (call.src.size() + 1));
      offers.push_back(same_layout_offer(*this, call, layout, memory_seconds(bytes)));
      offers.back().in_place = true;
    }
  }

  std::unique_ptr<Kernel> compile(const Call& call, const Cpu&) const override {
    const auto count = static_cast<std::int64_t>(call.dst[0].bytes() / sizeof(float));
    const Eltwise eltwise = *call.op.as<Eltwise>();
    std::vector<float> coefficients(call.src.size(), 1.0f);
    std::ranges::copy(eltwise.coefficients, coefficients.begin());
    return host_kernel("eltwise", [=](Views src, Views dst, std::span<std::byte>) {
      float* y = dst[0].as<float>();
#pragma omp parallel for
      for (std::int64_t begin = 0; begin < count; begin += kRun) {
        const std::int64_t end = std::min(begin + kRun, count);
        combine(eltwise.kind, coefficients, src, y, begin, end);
        if (!eltwise.activation) continue;
        const auto slope = static_cast<float>(eltwise.activation->alpha);
        for (std::int64_t i = begin; i < end; ++i) y[i] = y[i] > 0 ? y[i] : slope * y[i];
      }
    });
  }

 private:
  static constexpr std::int64_t kRun = 4096;  // floats: a run of all operands stays in the L1 cache

  static void combine(Eltwise::Kind kind, const std::vector<float>& coefficients, Views src, float* y,
                      std::int64_t begin, std::int64_t end) {
    const float* first = src[0].as<const float>();
    for (std::int64_t i = begin; i < end; ++i) y[i] = coefficients[0] * first[i];
    for (std::size_t k = 1; k < src.size(); ++k) {
      const float* x = src[k].as<const float>();
      switch (kind) {
        case Eltwise::Kind::sum:
          for (std::int64_t i = begin; i < end; ++i) y[i] += coefficients[k] * x[i];
          break;
        case Eltwise::Kind::product:
          for (std::int64_t i = begin; i < end; ++i) y[i] *= x[i];
          break;
        case Eltwise::Kind::maximum:
          for (std::int64_t i = begin; i < end; ++i) y[i] = std::max(y[i], x[i]);
          break;
      }
    }
  }
};

}  // namespace

std::unique_ptr<Provider> eltwise_provider() { return std::make_unique<EltwiseProvider>(); }

}  // namespace maru::cpu
