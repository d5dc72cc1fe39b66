#include "ops/gradient.h"

#include <algorithm>

#include "ops/eltwise.h"
#include "ops/operator.h"
#include "ops/reshape.h"

namespace maru {

ValueId GradientCall::add(std::string_view what, Op op, std::vector<ValueId> src) {
  const std::string name = fmt::format("{}/{}", node.name, what);
  const NodeId id = graph.add_node(name, std::move(op), std::move(src), {name});
  return graph.node(id).dst[0];
}

ValueId GradientCall::zeros(Shape shape) {
  std::vector<float> values(static_cast<std::size_t>(shape.count()));
  return graph.add_constant(node.name + "/zeros",
                            std::make_shared<const Constant>(shape, std::move(values)));
}

ValueId GradientCall::sum(const Gradients& gradients) {
  std::vector<ValueId> terms;
  for (const auto& gradient : gradients) {
    if (gradient) terms.push_back(*gradient);
  }
  MARU_ASSERT(!terms.empty());
  return terms.size() == 1 ? terms[0] : add("gradient sum", Eltwise{}, std::move(terms));
}

ValueId GradientCall::reshaped(ValueId gradient, std::size_t operand) {
  const Shape& shape = src_desc(operand).shape;
  if (graph.value(gradient).desc.shape == shape) return gradient;
  return add("gradient reshaped", Reshape{{shape.begin(), shape.end()}}, {gradient});
}

GradientRule gradient_rule(std::string_view op_name) {
  const auto found = std::ranges::find(all_operators(), op_name, &Operator::name);
  MARU_ASSERT(found != all_operators().end());
  if (found->gradient != nullptr) return found->gradient;
  throw Error(op_name, "an operator with a gradient", "one that is for using networks only",
              "freezing what lies before it (lr_mult: 0), or a training definition without it");
}

}  // namespace maru
