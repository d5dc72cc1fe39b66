#include "ops/concat.h"

#include "ops/reference.h"
#include "ops/slice.h"

namespace maru {

std::vector<TensorDesc> Concat::infer(Descs src) const {
  require_operands(src, 1, SIZE_MAX);
  const Shape& first = src[0].shape;
  const std::size_t index = first.axis(axis);
  std::int64_t sum = 0;
  for (std::size_t i = 0; i < src.size(); ++i) {
    if (src[i].shape.rank() != first.rank()) {
      throw Error("inputs", fmt::format("{} axes", first.rank()), src[i].shape.str());
    }
    const std::int64_t extent = src[i].shape[index];
    require_shape(src, i, first.with(index, extent), fmt::format("input {}", i));
    sum += extent;
  }
  return {{src[0].dtype, first.with(index, sum), Layout::plain()}};
}

Cost Concat::cost(Descs src, Descs dst) const { return {0, traffic(src, dst)}; }

void Concat::reference(Views src, Views dst) const {
  const auto size = static_cast<std::int64_t>(size_of(dst[0].desc.dtype));
  const Shape& out = dst[0].desc.shape;
  const std::size_t index = out.axis(axis);
  auto* to = dst[0].as<std::byte>();
  for (const TensorView& view : src) {
    const std::int64_t row = view.desc.shape.count(index, out.rank()) * size;
    copy_rows(to, out.count(index, out.rank()) * size, view.data, row, row, out.count(0, index));
    to += row;
  }
}

Operator concat_operator() {
  Operator op = operator_of<Concat>();
  op.gradient = [](GradientCall& call) -> Gradients {
    const std::int64_t axis = call.node.op.as<Concat>()->axis;
    if (call.node.src.size() == 1) return {call.dst[0]};
    Slice slice{axis, {}, static_cast<std::int64_t>(call.node.src.size())};
    std::int64_t begin = 0;
    std::vector<std::string> names;
    for (std::size_t i = 0; i < call.node.src.size(); ++i) {
      if (i > 0) slice.points.push_back(begin);
      const Shape& part = call.src_desc(i).shape;
      begin += part[part.axis(axis)];
      names.push_back(fmt::format("{}/gradient of {}", call.node.name, i));
    }
    const NodeId id = call.graph.add_node(call.node.name + "/gradient", std::move(slice),
                                          {*call.dst[0]}, std::move(names));
    const std::vector<ValueId>& parts = call.graph.node(id).dst;
    return {parts.begin(), parts.end()};
  };
  op.spellings = {{"caffe", "Concat", "concat_param", [](const AttrReader& reader, Arity) -> Op {
                     return Concat{axis_from_caffe(reader, "concat_dim")};
                   }}};
  const auto add = [&](std::string name, const std::vector<Shape>& shapes, Concat concat = {}) {
    std::vector<TensorDesc> src;
    for (const Shape& shape : shapes) src.push_back(f32(shape));
    op.cases.push_back(make_case(std::move(name), concat, std::move(src)));
  };
  add("inception", {{1, 64, 7, 7}, {1, 128, 7, 7}, {1, 32, 7, 7}, {1, 32, 7, 7}});
  add("odd channels", {{2, 5, 3, 4}, {2, 16, 3, 4}, {2, 3, 3, 4}});
  add("one pixel", {{2, 16, 1, 1}, {2, 24, 1, 1}});
  add("single", {{2, 3, 4, 5}});
  add("batch", {{1, 16, 3, 3}, {3, 16, 3, 3}}, {0});
  add("width", {{2, 3, 4, 5}, {2, 3, 4, 2}}, {-1});
  add("vectors", {{2, 10}, {2, 7}});
  return op;
}

}  // namespace maru
