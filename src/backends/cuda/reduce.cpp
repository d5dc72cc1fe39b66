#include "backends/cuda/reduce.h"

#include <algorithm>
#include <bit>

#include "backends/cuda/training.h"
#include "ops/broadcast.h"
#include "ops/reduce.h"

namespace maru::cuda {
namespace {

constexpr std::int64_t kVectorsEach = 8;  // that a thread adds up, at least, where there are many

// "reduce_runs_wide_f16"
std::string reducing(std::string_view name, DType from, DType to) {
  std::string_view kind;
  if (from != to) kind = from == DType::f16 ? "_wide" : "_narrow";
  return function_of(fmt::format("{}{}", name, kind), from);
}

bool takes_two(ReduceTerm term) { return term != ReduceTerm::value && term != ReduceTerm::square; }

// Addresses, and whether vectors can be read there: of what begins as aligned as the tensors do.
template <class Params>
bool bind_operands(Params& params, const Bound& bound, DType from) {
  const auto size = static_cast<std::int64_t>(size_of(from));
  params.a = bound.src(0);
  params.b = takes_two(params.term) ? bound.src(1) : params.a;
  if (params.term == ReduceTerm::product && params.a == params.b && params.a_stride == params.b_stride)
    params.term = ReduceTerm::square;
  const bool is_second = !takes_two(params.term) || is_aligned(params.b, params.b_stride * size);
  return is_second && is_aligned(params.a, params.a_stride * size);
}

// Vectors of a block by rows of it: as few vectors beyond the last as can be, and rows that are read in
// long pieces where that costs nothing.
struct ColumnBlock {
  explicit ColumnBlock(std::int64_t vectors, unsigned most) {
    constexpr unsigned kLeast = 4;
    columns =
        std::min(std::bit_ceil(static_cast<unsigned>(std::min<std::int64_t>(vectors, most))), most);
    const auto beyond = [&](unsigned width) { return divide_up(vectors, width) * width - vectors; };
    for (unsigned width = columns / 2; width >= kLeast; width /= 2) {
      if (beyond(width) < beyond(columns)) columns = width;
    }
    rows = kReduceThreads / columns;
    across = static_cast<unsigned>(divide_up(vectors, columns));
  }
  unsigned columns, rows, across;
};

// Adds up rows of sums, [slice][column], which begin the workspace.
Stage add_slices(unsigned slices, std::uint32_t columns, float factor, DType to) {
  ReduceColumnsParams params{};
  params.a_stride = params.b_stride = columns;
  params.rows = params.each = slices;
  params.columns = columns;
  params.factor = factor;
  // Few columns a block, so that many threads share the slices.
  const ColumnBlock block(divide_up(columns, vector_of(DType::f32)), 4);
  return stage(reducing("reduce_columns", DType::f32, to), {block.across, 1, 1},
               {block.columns, block.rows, 1}, [params](const Bound& bound) {
                 ReduceColumnsParams bound_params = params;
                 bound_params.a = bound_params.b = bound.workspace();
                 bound_params.dst = bound.dst(0);
                 bound_params.is_aligned =
                     is_aligned(bound_params.a, params.a_stride * std::int64_t{sizeof(float)});
                 return bound_params;
               });
}

Sums with_slices(Stage first, unsigned slices, std::uint32_t columns, float factor, DType to) {
  Sums sums;
  sums.stages.push_back(std::move(first));
  if (slices == 1) return sums;
  sums.stages.push_back(add_slices(slices, columns, factor, to));
  sums.workspace_bytes = std::size_t{slices} * columns * sizeof(float);
  return sums;
}

}  // namespace

Sums sum_columns(const Runtime& runtime, const ReduceColumnsParams& params, DType from, DType to) {
  constexpr unsigned kMostColumns = 32;
  const std::int64_t vectors = divide_up(params.columns, vector_of(from));
  const ColumnBlock block(vectors, kMostColumns);
  const std::int64_t threads = divide_up(params.rows, kVectorsEach) * block.across * block.columns;
  const unsigned wanted = std::max(slices_for(runtime, threads, kReduceThreads) / block.across, 1u);
  ReduceColumnsParams sliced = params;
  sliced.each = static_cast<std::uint32_t>(std::max<std::int64_t>(divide_up(params.rows, wanted), 1));
  const auto slices =
      static_cast<unsigned>(std::max<std::int64_t>(divide_up(params.rows, sliced.each), 1));
  if (slices > 1) sliced.factor = 1;
  Stage first =
      stage(reducing("reduce_columns", from, slices > 1 ? DType::f32 : to), {block.across, slices, 1},
            {block.columns, block.rows, 1}, [sliced, slices, from](const Bound& bound) {
              ReduceColumnsParams bound_params = sliced;
              bound_params.is_aligned = bind_operands(bound_params, bound, from);
              bound_params.dst = slices > 1 ? bound.workspace() : bound.dst(0);
              return bound_params;
            });
  return with_slices(std::move(first), slices, params.columns, params.factor, to);
}

Sums sum_runs(const Runtime& runtime, const ReduceRunsParams& params, DType from, DType to) {
  constexpr unsigned kWarp = 32;
  const int vector = vector_of(from);
  ReduceRunsParams sliced = params;
  sliced.vectors = static_cast<std::uint32_t>(divide_up(params.inner, vector));
  const std::int64_t vectors = std::int64_t{params.outer} * sliced.vectors;
  unsigned threads = kReduceThreads;
  while (threads > kWarp && threads / 2 * kVectorsEach >= vectors) threads /= 2;
  const std::int64_t work = divide_up(vectors, kVectorsEach) * params.middle;
  const unsigned wanted =
      std::max(slices_for(runtime, work, threads) / std::max(params.middle, 1u), 1u);
  sliced.each = static_cast<std::uint32_t>(std::max<std::int64_t>(divide_up(vectors, wanted), 1));
  const auto slices = static_cast<unsigned>(std::max<std::int64_t>(divide_up(vectors, sliced.each), 1));
  if (slices > 1) sliced.factor = 1;
  // Every run begins where vectors do.
  const bool is_whole = params.inner % static_cast<std::uint32_t>(vector) == 0;
  Stage first =
      stage(reducing("reduce_runs", from, slices > 1 ? DType::f32 : to), {params.middle, slices, 1},
            {threads, 1, 1}, [sliced, slices, is_whole, from](const Bound& bound) {
              ReduceRunsParams bound_params = sliced;
              const bool is_aligned = bind_operands(bound_params, bound, from);
              bound_params.is_whole = is_whole && is_aligned;
              bound_params.dst = slices > 1 ? bound.workspace() : bound.dst(0);
              return bound_params;
            });
  return with_slices(std::move(first), slices, params.middle, params.factor, to);
}

namespace {

bool is_real(DType dtype) { return dtype == DType::f32 || dtype == DType::f16; }

// How the axes that stay lie in the data.
struct Reduced {
  explicit Reduced(const Call& call)
      : extents(cover(call.src[0].shape, call.dst[0].shape, call.op.as<Reduce>()->axis)),
        is_scalar(call.dst[0].shape.rank() == 0),
        is_per_channel(!is_scalar && call.src[0].shape.rank() >= 2 &&
                       extents == extents_around(call.src[0].shape, 1, 2)) {}
  Extents extents;
  bool is_scalar, is_per_channel;
};

class ReduceProvider final : public Provider {
 public:
  std::string name() const override { return "reduce"; }

  void offer(const Call& call, const Runtime& runtime, std::vector<Offer>& offers) const override {
    if (call.op.as<Reduce>() == nullptr || !is_countable(call)) return;
    const DType from = call.src[0].dtype, to = call.dst[0].dtype;
    if (!is_real(from) || (to != from && to != DType::f32) || call.src.back().dtype != from) return;
    if (std::ranges::any_of(call.constant, [](bool is) { return is; })) return;
    const Reduced how(call);
    const bool is_any = how.is_scalar || how.is_per_channel;
    const auto bytes = static_cast<double>(call.src[0].bytes() * call.src.size());
    for (const Layout layout : layouts_where(call, is_any)) {
      Offer offer = same_layout_offer(*this, call, layout, memory_seconds(runtime, bytes));
      offer.dst = {Layout::plain()};
      offer.src_window = is_any;
      offers.push_back(std::move(offer));
    }
  }

  std::unique_ptr<Kernel> compile(const Call& call, const Offer&,
                                  const Runtime& runtime) const override {
    const DType from = call.src[0].dtype, to = call.dst[0].dtype;
    const Reduced how(call);
    const ReduceTerm term = call.src.size() == 2 ? ReduceTerm::product : ReduceTerm::value;
    const auto stride_of = [&](const TensorDesc& desc) {
      if (!how.is_per_channel) return how.extents.middle * how.extents.inner;
      const Images images(desc);
      const bool is_last = desc.layout.kind == Layout::Kind::channels_last;
      return is_last ? images.pixel_stride : images.image_stride;
    };
    const bool is_last = call.src[0].layout.kind == Layout::Kind::channels_last;
    Sums sums;
    if (!how.is_scalar && (how.extents.inner == 1 || is_last)) {
      ReduceColumnsParams params{};
      params.rows = static_cast<std::uint32_t>(how.extents.outer * how.extents.inner);
      params.columns = static_cast<std::uint32_t>(how.extents.middle);
      params.a_stride = stride_of(call.src[0]);
      params.b_stride = stride_of(call.src.back());
      params.term = term;
      params.factor = 1;
      sums = sum_columns(runtime, params, from, to);
    } else {
      ReduceRunsParams params{};
      params.term = term;
      params.factor = 1;
      params.outer = static_cast<std::uint32_t>(how.extents.outer);
      params.middle = static_cast<std::uint32_t>(how.extents.middle);
      params.inner = static_cast<std::uint32_t>(how.extents.inner);
      params.a_stride = stride_of(call.src[0]);
      params.b_stride = stride_of(call.src.back());
      if (how.is_scalar) {
        const Rows rows = rows_of(call.src, vector_of(from));
        params.outer = rows.count;
        params.middle = 1;
        params.inner = rows.run;
        params.a_stride = row_stride(call.src[0], rows);
        params.b_stride = row_stride(call.src.back(), rows);
      }
      sums = sum_runs(runtime, params, from, to);
    }
    return std::make_unique<CudaKernel>(runtime, how.is_scalar ? "reduce all" : "reduce",
                                        std::move(sums.stages), sums.workspace_bytes);
  }
};

}  // namespace

std::unique_ptr<Provider> reduce_provider() { return std::make_unique<ReduceProvider>(); }

}  // namespace maru::cuda
