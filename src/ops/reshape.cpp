#include "ops/reshape.h"

#include "ops/reference.h"

namespace maru {

std::vector<TensorDesc> Reshape::infer(Descs src) const {
  require_operands(src, 1, 1);
  const Shape& in = src[0].shape;
  const std::size_t first = in.axis(axis, in.rank() + 1);
  const auto most = static_cast<std::int64_t>(in.rank() - first);
  if (num_axes < -1 || num_axes > most) {
    throw Error("num_axes", fmt::format("-1 to {} axes from axis {} of {}", most, first, in.str()),
                fmt::format("{}", num_axes));
  }
  const std::size_t last = first + static_cast<std::size_t>(num_axes == -1 ? most : num_axes);

  const auto extents = in.extents();
  std::vector<std::int64_t> wanted(extents.begin(),
                                   extents.begin() + static_cast<std::ptrdiff_t>(first));
  std::optional<std::size_t> inferred;
  for (std::size_t i = 0; i < dims.size(); ++i) {
    std::int64_t dim = dims[i];
    if (dim == -1) {
      if (inferred) throw Error("reshape", "one -1 at most", print_field(dims));
      inferred = wanted.size();
      dim = 1;
    } else if (dim == 0) {
      if (first + i >= in.rank()) {
        throw Error("reshape", fmt::format("a 0 only where {} has an axis", in.str()),
                    print_field(dims));
      }
      dim = in[first + i];
    }
    wanted.push_back(dim);
  }
  wanted.insert(wanted.end(), extents.begin() + static_cast<std::ptrdiff_t>(last), extents.end());

  Shape out(wanted);
  if (inferred && out.count() > 0) out = out.with(*inferred, in.count() / out.count());
  if (out.count() != in.count() || (inferred && out.count() == 0)) {
    throw Error("reshape", fmt::format("dims for the {} elements of {}", in.count(), in.str()),
                print_field(dims));
  }
  return {{src[0].dtype, out, Layout::plain()}};
}

Cost Reshape::cost(Descs src, Descs dst) const { return {0, traffic(src, dst)}; }
void Reshape::reference(Views src, Views dst) const { copy_all(src[0], dst[0]); }

std::vector<TensorDesc> Flatten::infer(Descs src) const {
  require_operands(src, 1, 1);
  const Shape& in = src[0].shape;
  const std::size_t first = in.axis(axis), last = in.axis(end_axis) + 1;
  if (last < first) {
    throw Error("flatten", fmt::format("an end_axis of {} or more", axis), fmt::format("{}", end_axis));
  }
  const auto extents = in.extents();
  std::vector<std::int64_t> wanted(extents.begin(),
                                   extents.begin() + static_cast<std::ptrdiff_t>(first));
  wanted.push_back(in.count(first, last));
  wanted.insert(wanted.end(), extents.begin() + static_cast<std::ptrdiff_t>(last), extents.end());
  return {{src[0].dtype, Shape(wanted), Layout::plain()}};
}

Cost Flatten::cost(Descs src, Descs dst) const { return {0, traffic(src, dst)}; }
void Flatten::reference(Views src, Views dst) const { copy_all(src[0], dst[0]); }

static Gradients same_elements_gradient(GradientCall& call) { return {call.reshaped(*call.dst[0], 0)}; }

Operator reshape_operator() {
  Operator op = operator_of<Reshape>();
  op.gradient = same_elements_gradient;
  op.spellings = {{"caffe", "Reshape", "reshape_param", [](const AttrReader& reader, Arity) -> Op {
                     return Reshape{reader.integers("shape.dim"), reader.integer("axis", 0),
                                    reader.integer("num_axes", -1)};
                   }}};
  const auto add = [&](std::string name, Shape shape, Reshape reshape) {
    op.cases.push_back(make_case(std::move(name), std::move(reshape), {f32(shape)}));
  };
  add("copy and infer", {2, 19, 3, 4}, {{0, -1}});
  add("some axes", {2, 16, 3, 4}, {{4, 4}, 1, 1});
  add("new axis", {2, 3, 4}, {{1}, 1, 0});
  add("behind the last", {2, 3}, {{1, 1}, -1});
  return op;
}

Operator flatten_operator() {
  Operator op = operator_of<Flatten>();
  op.gradient = same_elements_gradient;
  op.spellings = {{"caffe", "Flatten", "flatten_param", [](const AttrReader& reader, Arity) -> Op {
                     return Flatten{reader.integer("axis", 1), reader.integer("end_axis", -1)};
                   }}};
  const auto add = [&](std::string name, Shape shape, Flatten flatten = {}) {
    op.cases.push_back(make_case(std::move(name), flatten, {f32(shape)}));
  };
  add("image", {2, 16, 3, 4});
  add("odd channels", {2, 19, 3, 4});
  add("one pixel", {2, 24, 1, 1});
  add("some axes", {2, 3, 4, 5}, {-3, 2});
  return op;
}

}  // namespace maru
