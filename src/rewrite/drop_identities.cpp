#include <algorithm>

#include "ops/concat.h"
#include "ops/identity.h"
#include "ops/inner_product.h"
#include "ops/pool.h"
#include "ops/reshape.h"
#include "ops/slice.h"
#include "rewrite/rewrite.h"

namespace maru {
namespace {

// True when every result of the node is its one operand.
bool gives_back_operand(const Graph& graph, const Node& node) {
  if (node.src.size() != 1) return false;
  const Op& op = node.op;
  if (op.as<Identity>()) return true;
  if (op.as<Concat>()) return true;
  if (op.as<Slice>()) return node.dst.size() == 1;
  if (op.as<Reshape>() || op.as<Flatten>()) {
    return graph.value(node.src[0]).desc.shape == graph.value(node.dst[0]).desc.shape;
  }
  if (const auto* unary = op.as<Unary>()) {
    if (unary->kind == Unary::Kind::relu) return unary->alpha == 1;
    return unary->kind == Unary::Kind::power && unary->alpha == 1 && unary->scale == 1 &&
           unary->shift == 0;
  }
  if (const auto* pool = op.as<Pool>()) return !pool->global && pool->window == Window{};
  return false;
}

// Drops the results of the node that nobody needs beside its operand. True when one was dropped.
bool drop_results(Graph& graph, NodeId id) {
  const std::vector<ValueId> results = graph.node(id).dst;
  std::vector<ValueId> kept;
  for (const ValueId result : results) {
    const ValueId operand = graph.node(id).src[0];
    const auto producer = graph.value(operand).producer;
    if (!graph.is_output(result)) {
      graph.replace_uses(result, operand);
    } else if (producer && !graph.is_output(operand)) {
      // The producer writes the output itself, so that the output keeps its name.
      std::ranges::replace(graph.node(*producer).dst, operand, result);
      graph.value(result).producer = producer;
      graph.replace_uses(operand, result);
    } else {
      kept.push_back(result);  // two names for one value, and both are asked for
    }
  }
  if (kept.size() == results.size()) return false;
  Node& node = graph.node(id);
  node.dst = kept;
  if (kept.empty()) {
    node.src.clear();
  } else if (const auto* identity = node.op.as<Identity>()) {
    Identity fewer = *identity;
    fewer.outputs = static_cast<std::int64_t>(kept.size());
    node.op = fewer;
  }
  return true;
}

// Lets an inner product read what a Flatten or Reshape reads, when it makes the same rows of it.
bool read_through_reshape(Graph& graph, Node& node, RewriteLog& log) {
  const auto producer = graph.value(node.src[0]).producer;
  const auto* product = node.op.as<InnerProduct>();
  if (product == nullptr || !producer) return false;
  const Node& reshape = graph.node(*producer);
  if (!reshape.op.as<Reshape>() && !reshape.op.as<Flatten>()) return false;
  auto descs = graph.descs(node.src);
  descs[0] = graph.value(reshape.src[0]).desc;
  const auto rank = static_cast<std::int64_t>(descs[0].shape.rank());
  if (product->axis < -rank || product->axis >= rank) return false;  // the reshape has made it
  const auto params = node.op.params(Descs(descs).first(1));
  for (std::size_t i = 0; i < params.size(); ++i) {
    if (descs[i + 1].shape != params[i].shape) return false;
  }
  if (node.op.infer(descs)[0].shape != graph.value(node.dst[0]).desc.shape) return false;
  log.add("dropped {} {} before {}", reshape.op.name(), reshape.name, node.name);
  node.src[0] = reshape.src[0];
  return true;
}

}  // namespace

bool drop_identities(Graph& graph, RewriteLog& log) {
  bool changed = false;
  for (std::size_t i = 0; i < graph.nodes().size(); ++i) {
    const auto id = NodeId(static_cast<std::uint32_t>(i));
    Node& node = graph.node(id);
    if (node.src.empty()) continue;
    if (read_through_reshape(graph, node, log)) {
      changed = true;
    } else if (gives_back_operand(graph, node) && drop_results(graph, id)) {
      const auto* identity = node.op.as<Identity>();
      log.add("dropped {} {}", identity ? to_string(identity->reason) : node.op.name(), node.name);
      changed = true;
    }
  }
  if (changed) graph.tidy();
  return changed;
}

}  // namespace maru
