#include "ops/conv.h"
#include "ops/eltwise.h"
#include "ops/inner_product.h"
#include "rewrite/edit.h"
#include "rewrite/rewrite.h"

namespace maru {
namespace {

// The operator with the activation behind it; nothing when it is not an A or has one already.
template <class A>
std::optional<Op> with_activation(const Op& op, const Unary& activation) {
  const A* attributes = op.as<A>();
  if (!attributes || attributes->activation) return std::nullopt;
  A fused = *attributes;
  fused.activation = activation;
  return Op(std::move(fused));
}

}  // namespace

bool fuse_activations(Graph& graph, RewriteLog& log, const std::function<bool(const Unary&)>& fusable) {
  bool changed = false;
  for (std::size_t i = 0; i < graph.nodes().size(); ++i) {
    const auto id = NodeId(static_cast<std::uint32_t>(i));
    const Node& node = graph.node(id);
    const auto* unary = node.op.as<Unary>();
    if (!unary || !fusable(*unary)) continue;
    const auto source = only_source(graph, id);
    if (!source) continue;
    const Node& before = graph.node(*source);
    auto op = with_activation<Conv>(before.op, *unary);
    if (!op) op = with_activation<InnerProduct>(before.op, *unary);
    if (!op) op = with_activation<Eltwise>(before.op, *unary);
    if (!op) continue;
    log.add("fused {} {} into {}", to_string(unary->kind), node.name, before.name);
    fuse_nodes(graph, *source, id, *op, before.src, before.name);
    changed = true;
  }
  if (changed) graph.tidy();
  return changed;
}

}  // namespace maru
