#include <algorithm>

#include "backends/opencl/provider.h"
#include "ops/concat.h"
#include "ops/identity.h"
#include "ops/reshape.h"
#include "ops/slice.h"

namespace maru::opencl {
namespace {

// Rows of one operand, in elements; between operands of equal element type.
struct Rows {
  std::int64_t row = 0, count = 1;
  std::int64_t src_begin = 0, src_step = 0, dst_begin = 0, dst_step = 0;
};

Stage copy_rows(const Runtime& runtime, DType dtype, Operand from, Operand to, const Rows& rows) {
  // Whatever the type: two words make an f64.
  const std::size_t element = std::min<std::size_t>(size_of(dtype), 4);
  const char* name = element == 4 ? "uint" : element == 2 ? "ushort" : "uchar";
  const auto scale = static_cast<std::int64_t>(size_of(dtype) / element);
  from.element = to.element = element;
  const auto elements = [&](std::int64_t count) { return static_cast<cl_ulong>(count * scale); };
  const std::int64_t vectors = (rows.row * scale + runtime.block - 1) / runtime.block;
  return stage(runtime.program("copy", fmt::format("-DELEMENT={}", name)), "copy_rows", vectors,
               rows.count, 1,
               {from, to, elements(rows.row), elements(rows.src_begin), elements(rows.src_step),
                elements(rows.dst_begin), elements(rows.dst_step)});
}

// What lies side by side in both, image after image.
Rows whole(const TensorDesc& from, const TensorDesc& to) {
  const Images src(from), dst(to);
  return {src.run, src.count,
          0,       static_cast<std::int64_t>(src.stride),
          0,       static_cast<std::int64_t>(dst.stride)};
}

Stage relayout(const Runtime& runtime, const TensorDesc& from, const TensorDesc& to,
               std::size_t index) {
  const Images plain(from.layout.kind == Layout::Kind::plain ? from : to);
  const Images blocked(from.layout.kind == Layout::Kind::plain ? to : from);
  const bool is_blocking = to.layout.kind == Layout::Kind::blocked;
  const char* options = from.dtype == DType::f16 ? "-DELEMENT=ushort" : "-DELEMENT=float";
  return stage(runtime.program("relayout", options),
               is_blocking ? "blocks_from_plain" : "plain_from_blocks", plain.pixels, blocked.blocks,
               plain.count,
               {src(0), dst(index), Images(from).stride, Images(to).stride,
                static_cast<cl_uint>(plain.pixels), static_cast<cl_uint>(plain.channels)});
}

double traffic_seconds(const Call& call) {
  double bytes = 0;
  for (const TensorDesc& desc : call.dst) bytes += 2 * static_cast<double>(desc.bytes());
  return memory_seconds(bytes);
}

// Copies and changes of layout, windows included.
class CopyProvider final : public Provider {
 public:
  std::string name() const override { return "copy.cl"; }

  void offer(const Call& call, const Runtime& runtime, std::vector<Offer>& offers) const override {
    if (call.op.as<Identity>() == nullptr) return;
    const Layout from = call.src[0].layout, to = call.dst[0].layout;
    if (from.kind == Layout::Kind::any && to.kind == Layout::Kind::any) {
      for (const Layout layout : natural_layouts(call, runtime)) add(call, layout, layout, offers);
    } else if (is_known(from, runtime) && is_known(to, runtime)) {
      const DType dtype = call.src[0].dtype;
      const bool is_real = dtype == DType::f32 || dtype == DType::f16;
      if (!is_real && from.dense() != to.dense()) return;
      add(call, from.dense(), to.dense(), offers);
    }
  }

  std::unique_ptr<Kernel> compile(const Call& call, const Runtime& runtime) const override {
    std::vector<Stage> stages;
    bool is_relayout = false;
    for (std::size_t i = 0; i < call.dst.size(); ++i) {
      if (call.src[0].layout.dense() == call.dst[i].layout.dense()) {
        stages.push_back(
            copy_rows(runtime, call.src[0].dtype, src(0), dst(i), whole(call.src[0], call.dst[i])));
      } else {
        stages.push_back(relayout(runtime, call.src[0], call.dst[i], i));
        is_relayout = true;
      }
    }
    return std::make_unique<OpenclKernel>(is_relayout ? "relayout.cl" : "copy.cl", std::move(stages));
  }

 private:
  void add(const Call& call, Layout from, Layout to, std::vector<Offer>& offers) const {
    Offer offer = same_layout_offer(*this, call, to, traffic_seconds(call));
    offer.src[0] = from;
    offer.src_window = offer.dst_window = true;
    offers.push_back(std::move(offer));
  }
};

// Joins and cuts that could not be windows, and other shapes that could not be views: rows of plain
// tensors.
class RowsProvider final : public Provider {
 public:
  std::string name() const override { return "rows"; }

  void offer(const Call& call, const Runtime&, std::vector<Offer>& offers) const override {
    const bool is_ours = call.op.as<Concat>() != nullptr || call.op.as<Slice>() != nullptr ||
                         call.op.as<Reshape>() != nullptr || call.op.as<Flatten>() != nullptr;
    if (!is_ours) return;
    offers.push_back(same_layout_offer(*this, call, Layout::plain(), traffic_seconds(call)));
  }

  std::unique_ptr<Kernel> compile(const Call& call, const Runtime& runtime) const override {
    std::vector<Stage> stages;
    const DType dtype = call.src[0].dtype;
    if (const auto* concat = call.op.as<Concat>()) {
      const Shape& out = call.dst[0].shape;
      Rows rows = around(out, out.axis(concat->axis));
      rows.dst_step = rows.row;
      for (std::size_t i = 0; i < call.src.size(); ++i) {
        const Shape& in = call.src[i].shape;
        rows.row = rows.src_step = in.count(out.axis(concat->axis), in.rank());
        stages.push_back(copy_rows(runtime, dtype, src(i), dst(0), rows));
        rows.dst_begin += rows.row;
      }
    } else if (const auto* slice = call.op.as<Slice>()) {
      const Shape& in = call.src[0].shape;
      Rows rows = around(in, in.axis(slice->axis));
      rows.src_step = rows.row;
      for (std::size_t i = 0; i < call.dst.size(); ++i) {
        const Shape& out = call.dst[i].shape;
        rows.row = rows.dst_step = out.count(in.axis(slice->axis), out.rank());
        stages.push_back(copy_rows(runtime, dtype, src(0), dst(i), rows));
        rows.src_begin += rows.row;
      }
    } else {
      stages.push_back(copy_rows(runtime, dtype, src(0), dst(0), {call.src[0].count()}));
    }
    return std::make_unique<OpenclKernel>("copy.cl rows", std::move(stages));
  }

 private:
  static Rows around(const Shape& shape, std::size_t axis) {
    return {shape.count(axis, shape.rank()), shape.count(0, axis)};
  }
};

}  // namespace

std::unique_ptr<Provider> copy_provider() { return std::make_unique<CopyProvider>(); }
std::unique_ptr<Provider> rows_provider() { return std::make_unique<RowsProvider>(); }

}  // namespace maru::opencl
