#include "ops/slice.h"

#include <algorithm>

#include "ops/concat.h"
#include "ops/reference.h"

namespace maru {

std::vector<std::int64_t> Slice::offsets(const Shape& src) const {
  const std::int64_t extent = src[src.axis(axis)];
  if (outputs < 1 || outputs > std::max<std::int64_t>(extent, 1)) {
    throw Error("slice", fmt::format("1 to {} outputs", extent), fmt::format("{}", outputs));
  }
  std::vector<std::int64_t> begins{0};
  if (points.empty()) {
    if (extent % outputs != 0) {
      throw Error("slice", fmt::format("outputs that divide {}", extent), fmt::format("{}", outputs),
                  "slice_point for unequal parts");
    }
    for (std::int64_t i = 1; i <= outputs; ++i) begins.push_back(extent / outputs * i);
    return begins;
  }
  if (points.size() != static_cast<std::size_t>(outputs - 1)) {
    throw Error("slice", fmt::format("{} points for {} outputs", outputs - 1, outputs),
                fmt::format("{}", points.size()));
  }
  begins.insert(begins.end(), points.begin(), points.end());
  begins.push_back(extent);
  for (std::size_t i = 1; i < begins.size(); ++i) {
    if (begins[i] <= begins[i - 1]) {
      throw Error("slice", fmt::format("points that rise from 1 to {}", extent - 1),
                  print_field(points));
    }
  }
  return begins;
}

std::vector<TensorDesc> Slice::infer(Descs src) const {
  require_operands(src, 1, 1);
  const Shape& shape = src[0].shape;
  const auto begins = offsets(shape);
  std::vector<TensorDesc> dst;
  for (std::size_t i = 1; i < begins.size(); ++i) {
    dst.push_back(
        {src[0].dtype, shape.with(shape.axis(axis), begins[i] - begins[i - 1]), Layout::plain()});
  }
  return dst;
}

Cost Slice::cost(Descs src, Descs dst) const { return {0, traffic(src, dst)}; }

void Slice::reference(Views src, Views dst) const {
  const auto size = static_cast<std::int64_t>(size_of(src[0].desc.dtype));
  const Shape& in = src[0].desc.shape;
  const std::size_t index = in.axis(axis);
  const auto* from = src[0].as<const std::byte>();
  for (const TensorView& view : dst) {
    const std::int64_t row = view.desc.shape.count(index, in.rank()) * size;
    copy_rows(view.data, row, from, in.count(index, in.rank()) * size, row, in.count(0, index));
    from += row;
  }
}

Operator slice_operator() {
  Operator op = operator_of<Slice>();
  op.gradient = [](GradientCall& call) -> Gradients {
    std::vector<ValueId> parts;
    for (std::size_t i = 0; i < call.dst.size(); ++i) {
      // A part that no loss depends on has the gradient zero.
      parts.push_back(call.dst[i] ? *call.dst[i]
                                  : call.zeros(call.graph.value(call.node.dst[i]).desc.shape));
    }
    return {call.add("gradient", Concat{call.node.op.as<Slice>()->axis}, std::move(parts))};
  };
  op.spellings = {{"caffe", "Slice", "slice_param", [](const AttrReader& reader, Arity arity) -> Op {
                     return Slice{axis_from_caffe(reader, "slice_dim"), reader.integers("slice_point"),
                                  static_cast<std::int64_t>(arity.dst)};
                   }}};
  const auto add = [&](std::string name, Shape shape, Slice slice) {
    op.cases.push_back(make_case(std::move(name), std::move(slice), {f32(shape)}));
  };
  add("equal", {2, 48, 5, 4}, {1, {}, 3});
  add("points", {2, 32, 3, 5}, {1, {16}, 2});
  add("odd points", {2, 19, 3, 5}, {1, {3, 4, 12}, 4});
  add("batch", {4, 5, 3, 2}, {0, {1}, 2});
  add("width", {2, 3, 4, 6}, {-1, {}, 3});
  add("one pixel", {1, 24, 1, 1}, {1, {16}, 2});
  add("single", {2, 3, 4, 5}, {});
  return op;
}

}  // namespace maru
