#include "backends/cuda/kernels/eltwise.h"

#include <algorithm>

#include "backends/cuda/activation.h"
#include "backends/cuda/elements.h"
#include "ops/eltwise.h"

namespace maru::cuda {
namespace {

EltwiseParams::Kind kind_of(const Eltwise& eltwise) {
  using Kind = EltwiseParams::Kind;
  switch (eltwise.kind) {
    case Eltwise::Kind::sum:
      return Kind::sum;
    case Eltwise::Kind::product:
      return Kind::product;
    case Eltwise::Kind::maximum:
      return Kind::maximum;
  }
  return Kind::sum;
}

// Many operands of one element, each of which a launch takes a thread for.
bool sums_ones(const Call& call) {
  const Eltwise& eltwise = *call.op.as<Eltwise>();
  return eltwise.kind == Eltwise::Kind::sum && eltwise.coefficients.empty() && !eltwise.activation &&
         call.src.size() > kEltwiseOperands && call.src[0].count() == 1 &&
         data_type(call) == DType::f32;
}

std::unique_ptr<Kernel> compile_ones(const Call& call, const Runtime& runtime) {
  std::vector<Stage> stages;
  for (std::size_t next = 0; next < call.src.size();) {
    const std::size_t before = next == 0 ? 0 : 1;  // the sum so far
    const std::size_t begin = next, count = std::min(call.src.size() - next, kSumOnes - before);
    next += count;
    stages.push_back(stage("sum_ones", {1, 1, 1}, {kSumOnes, 1, 1}, [=](const Bound& bound) {
      SumOnesParams params{};
      params.dst = bound.dst<float>(0);
      params.src[0] = params.dst;
      for (std::size_t i = 0; i < count; ++i) params.src[before + i] = bound.src<float>(begin + i);
      params.count = static_cast<std::int32_t>(before + count);
      return params;
    }));
  }
  return std::make_unique<CudaKernel>(runtime, "eltwise sum of ones", std::move(stages));
}

// As many operands at once as a launch takes; more of them, launch after launch, with floats in
// between.
class EltwiseProvider final : public Provider {
 public:
  std::string name() const override { return "eltwise"; }

  void offer(const Call& call, const Runtime& runtime, std::vector<Offer>& offers) const override {
    if (call.op.as<Eltwise>() == nullptr || !data_type(call) || !is_countable(call)) return;
    // A constant is f32 and plain, whatever the rest is.
    const bool has_constants = std::ranges::any_of(call.constant, [](bool is) { return is; });
    if (has_constants && data_type(call) != DType::f32) return;
    const auto bytes = static_cast<double>(call.src[0].bytes() * (call.src.size() + 1));
    for (const Layout layout : layouts_where(call, !has_constants)) {
      Offer offer = same_layout_offer(*this, call, layout, memory_seconds(runtime, bytes));
      offer.src_window = !has_constants;
      offer.dst_window = offer.in_place = true;
      offers.push_back(std::move(offer));
    }
  }

  std::unique_ptr<Kernel> compile(const Call& call, const Offer&,
                                  const Runtime& runtime) const override {
    if (sums_ones(call)) return compile_ones(call, runtime);
    const Eltwise& eltwise = *call.op.as<Eltwise>();
    const DType dtype = *data_type(call);
    std::vector<TensorDesc> tensors(call.src.begin(), call.src.end());
    tensors.push_back(call.dst[0]);

    EltwiseParams common{};
    common.kind = kind_of(eltwise);
    common.rows = rows_of(tensors, vector_of(dtype));
    common.dst_stride = row_stride(call.dst[0], common.rows);
    std::vector<Stage> stages;
    for (std::size_t next = 0; next < call.src.size();) {
      EltwiseParams params = common;
      const std::size_t begin = next;
      for (; next < call.src.size() && params.count < kEltwiseOperands; ++next) {
        params.src_stride[params.count] = row_stride(call.src[next], common.rows);
        params.factor[params.count++] =
            eltwise.coefficients.empty() ? 1 : static_cast<float>(eltwise.coefficients[next]);
      }
      const bool is_last = next == call.src.size();
      if (is_last) params.activation = activation_of(eltwise.activation);
      stages.push_back(spread(runtime, function_of("eltwise", dtype), common.rows,
                              [params, begin, is_last, dtype](const Bound& bound) {
                                return bind(params, bound, begin, is_last, dtype);
                              }));
    }
    const std::size_t carried = std::size_t{common.rows.count} * common.rows.vectors *
                                static_cast<std::size_t>(vector_of(dtype)) * sizeof(float);
    const std::size_t workspace = stages.size() > 1 ? carried : 0;
    return std::make_unique<CudaKernel>(runtime, fmt::format("eltwise {}", to_string(eltwise.kind)),
                                        std::move(stages), workspace);
  }

 private:
  static EltwiseParams bind(EltwiseParams params, const Bound& bound, std::size_t begin, bool is_last,
                            DType dtype) {
    const auto size = static_cast<std::int64_t>(size_of(dtype));
    params.dst = bound.dst(0);
    params.before = begin == 0 ? nullptr : bound.workspace<float>();
    params.behind = is_last ? nullptr : bound.workspace<float>();
    params.is_aligned = is_aligned(params.dst, params.dst_stride * size);
    for (std::int32_t i = 0; i < params.count; ++i) {
      params.src[i] = bound.src(begin + static_cast<std::size_t>(i));
      params.is_aligned = params.is_aligned && is_aligned(params.src[i], params.src_stride[i] * size);
    }
    return params;
  }
};

}  // namespace

std::unique_ptr<Provider> eltwise_provider() { return std::make_unique<EltwiseProvider>(); }

}  // namespace maru::cuda
