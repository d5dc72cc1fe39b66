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

// As many operands at once as a launch takes; more of them, launch after launch onto the result.
class EltwiseProvider final : public Provider {
 public:
  std::string name() const override { return "eltwise"; }

  void offer(const Call& call, const Runtime& runtime, std::vector<Offer>& offers) const override {
    if (call.op.as<Eltwise>() == nullptr || !data_type(call) || !is_countable(call)) return;
    const auto bytes = static_cast<double>(call.src[0].bytes() * (call.src.size() + 1));
    for (const Layout layout : natural_layouts(call)) {
      Offer offer = same_layout_offer(*this, call, layout, memory_seconds(runtime, bytes));
      offer.src_window = offer.dst_window = true;
      // The first launch writes what those behind it would still have to read.
      offer.in_place = call.src.size() <= kEltwiseOperands;
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
      const bool is_first = next == 0;
      const auto add = [&](std::int64_t stride, double factor) {
        params.src_stride[params.count] = stride;
        params.factor[params.count++] = static_cast<float>(factor);
      };
      if (!is_first) add(common.dst_stride, 1);
      const std::size_t begin = next;
      for (; next < call.src.size() && params.count < kEltwiseOperands; ++next) {
        add(row_stride(call.src[next], common.rows),
            eltwise.coefficients.empty() ? 1 : eltwise.coefficients[next]);
      }
      if (next == call.src.size()) params.activation = activation_of(eltwise.activation);
      stages.push_back(spread(runtime, function_of("eltwise", dtype), common.rows,
                              [params, begin, is_first, dtype](const Bound& bound) {
                                return bind(params, bound, begin, is_first, dtype);
                              }));
    }
    return std::make_unique<CudaKernel>(runtime, fmt::format("eltwise {}", to_string(eltwise.kind)),
                                        std::move(stages));
  }

 private:
  static EltwiseParams bind(EltwiseParams params, const Bound& bound, std::size_t begin, bool is_first,
                            DType dtype) {
    const auto size = static_cast<std::int64_t>(size_of(dtype));
    params.dst = bound.dst(0);
    params.is_aligned = is_aligned(params.dst, params.dst_stride * size);
    for (std::int32_t i = 0; i < params.count; ++i) {
      const auto operand = begin + static_cast<std::size_t>(i) - (is_first ? 0 : 1);
      params.src[i] = i == 0 && !is_first ? params.dst : bound.src(operand);
      params.is_aligned = params.is_aligned && is_aligned(params.src[i], params.src_stride[i] * size);
    }
    return params;
  }
};

}  // namespace

std::unique_ptr<Provider> eltwise_provider() { return std::make_unique<EltwiseProvider>(); }

}  // namespace maru::cuda
