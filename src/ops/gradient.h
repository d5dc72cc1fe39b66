// Gradient rules: how the gradient of a loss by an operator's operands follows from that by its
// results. A rule adds nodes to the graph, so that training is planned and run like everything else.
#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "graph/graph.h"

namespace maru {

using Gradients = std::vector<std::optional<ValueId>>;

struct GradientCall {
  Graph& graph;
  Node node;                 // a copy: adding nodes moves the graph's
  Gradients dst;             // of the node's results; nothing: no loss depends on that one
  std::vector<bool> wanted;  // per operand: whether anybody asks for its gradient

  const TensorDesc& src_desc(std::size_t i) const { return graph.value(node.src[i]).desc; }
  // Adds a node of one result, called after this node and `what`.
  ValueId add(std::string_view what, Op op, std::vector<ValueId> src);
  ValueId zeros(Shape shape);
  // Of those that are there; at least one is.
  ValueId sum(const Gradients& gradients);
  // The gradient in the operand's shape, where it has that many elements under another.
  ValueId reshaped(ValueId gradient, std::size_t operand);
};

// Returns the gradients of the operands; nothing where it is not wanted, or is zero. At least one
// result has a gradient. Throws Error where there is no gradient.
using GradientRule = Gradients (*)(GradientCall& call);

// Of the operator. Throws Error naming it when it has none.
GradientRule gradient_rule(std::string_view op_name);

}  // namespace maru
