#include "ops/pool_lrn.h"
#include "rewrite/edit.h"
#include "rewrite/rewrite.h"

namespace maru {
namespace {

// Both operators in one; nothing when they are others.
std::optional<Op> both(const Op& first, const Op& last) {
  const auto* pool = first.as<Pool>();
  const auto* lrn = last.as<Lrn>();
  if (pool != nullptr && lrn != nullptr) return PoolLrn{PoolLrn::Order::pool_first, *pool, *lrn};
  pool = last.as<Pool>();
  lrn = first.as<Lrn>();
  if (pool != nullptr && lrn != nullptr) return PoolLrn{PoolLrn::Order::lrn_first, *pool, *lrn};
  return std::nullopt;
}

}  // namespace

bool fuse_pool_lrn(Graph& graph, RewriteLog& log, const Offered& is_offered) {
  bool changed = false;
  for (std::size_t i = 0; i < graph.nodes().size(); ++i) {
    const auto id = NodeId(static_cast<std::uint32_t>(i));
    const Node& node = graph.node(id);
    if (node.src.size() != 1) continue;
    const auto source = only_source(graph, id);
    if (!source) continue;
    const Node& before = graph.node(*source);
    const auto op = both(before.op, node.op);
    if (!op) continue;
    const auto src = graph.descs(before.src);
    constexpr bool kConstant[] = {false};
    if (!is_offered(*op, src, op->infer(src), kConstant)) continue;
    log.add("fused {} {} with {}", node.op.name(), node.name, before.name);
    fuse_nodes(graph, *source, id, *op, before.src, fmt::format("{}+{}", before.name, node.name));
    changed = true;
  }
  if (changed) graph.tidy();
  return changed;
}

}  // namespace maru
