#include "backends/cuda/kernels/copy.h"

#include <algorithm>
#include <bit>

#include "backends/cuda/elements.h"
#include "backends/cuda/kernels/relayout.h"
#include "ops/concat.h"
#include "ops/identity.h"
#include "ops/reshape.h"
#include "ops/slice.h"

namespace maru::cuda {
namespace {

constexpr std::int64_t kMostBlocksDeep = 65535;  // CUDA's limit of a grid's third extent

// Rows of one operand, in elements; between operands of equal element type.
struct CopiedRows {
  std::int64_t row = 0, count = 1;
  std::int64_t src_begin = 0, src_step = 0, dst_begin = 0, dst_step = 0;
};

// The largest power of two, up to 16, that divides all of these.
std::uint32_t unit_of(std::uintptr_t all) {
  return all == 0 ? kCopyBytes : std::min<std::uint32_t>(kCopyBytes, 1u << std::countr_zero(all));
}

Stage copy_rows(const Runtime& runtime, std::size_t size, std::size_t from, std::size_t to,
                const CopiedRows& rows) {
  const auto bytes = [size](std::int64_t elements) {
    return static_cast<std::uint64_t>(elements) * size;
  };
  CopyParams params{};
  params.row_bytes = bytes(rows.row);
  params.rows = static_cast<std::uint32_t>(rows.count);
  params.vectors =
      static_cast<std::uint32_t>(divide_up(static_cast<std::int64_t>(params.row_bytes), kCopyBytes));
  if (rows.count > 1) {
    params.src_step = bytes(rows.src_step);
    params.dst_step = bytes(rows.dst_step);
  }
  const std::uint64_t src_begin = bytes(rows.src_begin), dst_begin = bytes(rows.dst_begin);
  return spread(runtime, "copy", std::int64_t{params.rows} * params.vectors, [=](const Bound& bound) {
    CopyParams bound_params = params;
    bound_params.src = bound.src<std::byte>(from) + src_begin;
    bound_params.dst = bound.dst<std::byte>(to) + dst_begin;
    bound_params.unit = unit_of(reinterpret_cast<std::uintptr_t>(bound_params.src) |
                                reinterpret_cast<std::uintptr_t>(bound_params.dst) |
                                bound_params.src_step | bound_params.dst_step);
    return bound_params;
  });
}

// Where channels and pixels of 4 axes are.
Arrangement arrangement_of(const TensorDesc& desc) {
  const std::int64_t pixels = desc.shape.count(2, 4), block = desc.layout.block;
  switch (desc.layout.kind) {
    case Layout::Kind::blocked:
      return {desc.image_stride(), block * pixels, block, desc.layout.block, false};
    case Layout::Kind::channels_last:
      return {desc.image_stride(), 1, Images(desc).pixel_stride, 1, false};
    default:
      return {desc.image_stride(), pixels, 1, 1, true};
  }
}

Stage relayout(const Runtime& runtime, const TensorDesc& from, const TensorDesc& to,
               std::size_t index) {
  RelayoutParams params{};
  params.from = arrangement_of(from);
  params.to = arrangement_of(to);
  params.images = static_cast<std::uint32_t>(from.shape[0]);
  params.channels = static_cast<std::uint32_t>(from.shape[1]);
  params.pixels = static_cast<std::uint32_t>(from.shape.count(2, 4));
  const std::int64_t dst_channels = divide_up(from.shape[1], to.layout.block) * to.layout.block;
  params.dst_channels = static_cast<std::uint32_t>(dst_channels);
  const std::size_t size = size_of(from.dtype);
  const bool is_few = dst_channels <= kFewChannels;
  const auto bind = [params, index, size](const Bound& bound) {
    RelayoutParams bound_params = params;
    bound_params.src = bound.src(0);
    bound_params.dst = bound.dst(index);
    // A pixel's channels are neighbours, and nothing else's.
    bound_params.is_aligned =
        params.dst_channels == kFewChannels && params.to.pixel == kFewChannels &&
        !params.to.pixels_are_neighbours &&
        reinterpret_cast<std::uintptr_t>(bound_params.dst) % (kFewChannels * size) == 0;
    return bound_params;
  };
  if (is_few) {
    return spread(runtime, fmt::format("relayout_few_{}", size),
                  std::int64_t{params.images} * params.pixels, bind);
  }
  const auto tiles = [](std::int64_t extent) {
    return static_cast<unsigned>(divide_up(extent, kRelayoutTile));
  };
  const auto images = static_cast<unsigned>(std::min<std::int64_t>(params.images, kMostBlocksDeep));
  return stage(fmt::format("relayout_{}", size), {tiles(params.pixels), tiles(dst_channels), images},
               {kRelayoutTile, kRelayoutRows, 1}, bind);
}

double traffic_seconds(const Call& call, const Runtime& runtime) {
  double bytes = 0;
  for (const TensorDesc& desc : call.dst) bytes += 2 * static_cast<double>(desc.bytes());
  return memory_seconds(runtime, bytes);
}

// Of any blocks, since the CPU beside it has its own.
bool is_copied(const Layout& layout) {
  return is_known(layout) || layout.kind == Layout::Kind::blocked;
}

// Copies and changes of layout, windows included.
class CopyProvider final : public Provider {
 public:
  std::string name() const override { return "copy"; }

  void offer(const Call& call, const Runtime& runtime, std::vector<Offer>& offers) const override {
    if (call.op.as<Identity>() == nullptr || !is_countable(call)) return;
    const Layout from = call.src[0].layout, to = call.dst[0].layout;
    if (from.kind == Layout::Kind::any && to.kind == Layout::Kind::any) {
      for (const Layout layout : natural_layouts(call)) add(call, runtime, layout, layout, offers);
    } else if (is_copied(from) && is_copied(to)) {
      if (call.src[0].shape.rank() != 4 && from.dense() != to.dense()) return;
      add(call, runtime, from.dense(), to.dense(), offers);
    }
  }

  std::unique_ptr<Kernel> compile(const Call& call, const Offer&,
                                  const Runtime& runtime) const override {
    std::vector<Stage> stages;
    bool is_relayout = false;
    for (std::size_t i = 0; i < call.dst.size(); ++i) {
      if (call.src[0].layout.dense() != call.dst[i].layout.dense()) {
        stages.push_back(relayout(runtime, call.src[0], call.dst[i], i));
        is_relayout = true;
        continue;
      }
      const TensorDesc tensors[] = {call.src[0], call.dst[i]};
      const Rows rows = rows_of(tensors, 1);
      stages.push_back(copy_rows(
          runtime, size_of(call.src[0].dtype), 0, i,
          {rows.run, rows.count, 0, row_stride(tensors[0], rows), 0, row_stride(tensors[1], rows)}));
    }
    return std::make_unique<CudaKernel>(runtime, is_relayout ? "copy to another layout" : "copy",
                                        std::move(stages));
  }

 private:
  void add(const Call& call, const Runtime& runtime, Layout from, Layout to,
           std::vector<Offer>& offers) const {
    Offer offer = same_layout_offer(*this, call, to, traffic_seconds(call, runtime));
    offer.src[0] = from;
    offer.src_window = offer.dst_window = true;
    offers.push_back(std::move(offer));
  }
};

// Joins and cuts that could not be windows, and other shapes that could not be views: rows of plain
// tensors, or of images whose channels are neighbours.
class RowsProvider final : public Provider {
 public:
  std::string name() const override { return "rows"; }

  void offer(const Call& call, const Runtime& runtime, std::vector<Offer>& offers) const override {
    const auto axis = axis_of(call);
    const bool is_shape = call.op.as<Reshape>() != nullptr || call.op.as<Flatten>() != nullptr;
    if ((!axis && !is_shape) || !is_countable(call)) return;
    const double seconds = traffic_seconds(call, runtime);
    if (call.src[0].shape.rank() == 4 && axis == std::size_t{1}) {
      offers.push_back(same_layout_offer(*this, call, Layout::channels_last(), seconds));
    }
    offers.push_back(same_layout_offer(*this, call, Layout::plain(), seconds));
  }

  std::unique_ptr<Kernel> compile(const Call& call, const Offer&,
                                  const Runtime& runtime) const override {
    std::vector<Stage> stages;
    const std::size_t size = size_of(call.src[0].dtype);
    if (call.op.as<Concat>() != nullptr) {
      CopiedRows rows = around(call.dst[0], *axis_of(call));
      rows.dst_step = rows.row;
      for (std::size_t i = 0; i < call.src.size(); ++i) {
        rows.row = rows.src_step = around(call.src[i], *axis_of(call)).row;
        stages.push_back(copy_rows(runtime, size, i, 0, rows));
        rows.dst_begin += rows.row;
      }
    } else if (call.op.as<Slice>() != nullptr) {
      CopiedRows rows = around(call.src[0], *axis_of(call));
      rows.src_step = rows.row;
      for (std::size_t i = 0; i < call.dst.size(); ++i) {
        rows.row = rows.dst_step = around(call.dst[i], *axis_of(call)).row;
        stages.push_back(copy_rows(runtime, size, 0, i, rows));
        rows.src_begin += rows.row;
      }
    } else {
      stages.push_back(copy_rows(runtime, size, 0, 0, {call.src[0].count()}));
    }
    return std::make_unique<CudaKernel>(runtime, "rows", std::move(stages));
  }

 private:
  static std::optional<std::size_t> axis_of(const Call& call) {
    const Shape& shape = call.src[0].shape;
    if (const auto* concat = call.op.as<Concat>()) return shape.axis(concat->axis);
    if (const auto* slice = call.op.as<Slice>()) return shape.axis(slice->axis);
    return std::nullopt;
  }

  // What lies side by side from this axis on, and how often.
  static CopiedRows around(const TensorDesc& desc, std::size_t axis) {
    const Shape& shape = desc.shape;
    if (desc.layout.kind == Layout::Kind::channels_last)
      return {shape[1], shape[0] * shape.count(2, 4)};
    return {shape.count(axis, shape.rank()), shape.count(0, axis)};
  }
};

}  // namespace

std::unique_ptr<Provider> copy_provider() { return std::make_unique<CopyProvider>(); }
std::unique_ptr<Provider> rows_provider() { return std::make_unique<RowsProvider>(); }

}  // namespace maru::cuda
