#include <algorithm>
#include <map>
#include <memory>

#include "ops/cast.h"
#include "ops/concat.h"
#include "ops/identity.h"
#include "ops/preprocess.h"
#include "ops/reshape.h"
#include "ops/slice.h"
#include "ops/softmax.h"
#include "rewrite/edit.h"
#include "rewrite/rewrite.h"

namespace maru {
namespace {

// Whatever its element type, and without a kernel.
bool keeps_bytes(const Op& op) { return op.as<Identity>() || op.as<Reshape>() || op.as<Flatten>(); }
bool moves_bytes(const Op& op) { return keeps_bytes(op) || op.as<Concat>() || op.as<Slice>(); }

bool is_offered_with(const Offered& is_offered, const Graph& graph, const Node& node, const Op& op,
                     Descs src, Descs dst) {
  const auto constant = std::make_unique<bool[]>(node.src.size());
  for (std::size_t i = 0; i < node.src.size(); ++i)
    constant[i] = graph.value(node.src[i]).constant != nullptr;
  return is_offered(op, src, dst, {constant.get(), node.src.size()});
}

// Writes the graph again, node by node, each in f16 where that can be.
class Halving {
 public:
  Halving(const Graph& graph, const Offered& is_offered) : graph_(graph), is_offered_(is_offered) {}

  Graph run(RewriteLog& log) {
    halved_.name = graph_.name;
    values_.resize(graph_.values().size());
    for (const ValueId id : graph_.inputs) add_source(id);
    for (std::size_t i = 0; i < graph_.values().size(); ++i) {
      if (graph_.values()[i].constant) add_source(ValueId(static_cast<std::uint32_t>(i)));
    }
    std::size_t halves = 0;
    for (const Node& node : graph_.nodes()) halves += add(node, log) ? 1 : 0;
    for (const ValueId id : graph_.outputs)
      halved_.outputs.push_back(in(id, graph_.value(id).desc.dtype));
    log.add("half precision in {} of {} layers", halves, graph_.nodes().size());
    return std::move(halved_);
  }

 private:
  // A value of the old graph in the new one: as it is computed, and cast to the other type.
  struct Versions {
    ValueId own{};
    std::optional<ValueId> cast;
  };

  Versions& versions(ValueId id) { return values_[static_cast<std::size_t>(id)]; }
  DType dtype(ValueId id) { return halved_.value(versions(id).own).desc.dtype; }
  bool is_constant(ValueId id) const { return graph_.value(id).constant != nullptr; }

  void add_source(ValueId id) {
    const Value& value = graph_.value(id);
    versions(id).own = value.constant ? halved_.add_constant(value.name, value.constant)
                                      : halved_.add_input(value.name, value.desc);
  }

  // The value in that type, cast at most once. Who asks for an output by its name finds the old type.
  ValueId in(ValueId id, DType wanted) {
    Versions& known = versions(id);
    if (dtype(id) == wanted) return known.own;
    if (!known.cast) {
      const std::string& name = graph_.value(id).name;
      const bool is_named = graph_.is_output(id) && wanted == graph_.value(id).desc.dtype;
      const std::string cast = fmt::format("{}.{}", name, to_string(wanted));
      const NodeId node = halved_.add_node(cast, Cast{wanted}, {known.own}, {is_named ? name : cast});
      known.cast = halved_.node(node).dst[0];
    }
    return *known.cast;
  }

  // What the node's operands are where data is f16; nothing where it has data of another kind.
  std::optional<std::vector<TensorDesc>> halved_operands(const Node& node) const {
    std::vector<TensorDesc> src = graph_.descs(node.src);
    for (std::size_t i = 0; i < src.size(); ++i) {
      if (is_constant(node.src[i])) continue;
      if (src[i].dtype != DType::f32) return std::nullopt;
      src[i].dtype = DType::f16;
    }
    return src;
  }

  bool runs_in_half(const Node& node) {
    const auto src = halved_operands(node);
    if (!src) return false;
    const auto is_half = [&](ValueId id) { return dtype(id) == DType::f16; };
    if (moves_bytes(node.op) && std::ranges::none_of(node.src, is_half)) return false;
    if (moves_bytes(node.op) &&
        std::ranges::any_of(node.src, [&](ValueId id) { return is_constant(id); }))
      return false;
    if (keeps_bytes(node.op)) return true;
    std::vector<TensorDesc> dst;
    try {
      dst = node.op.infer(*src);
    } catch (const Error&) {
      return false;  // data that is a constant, of which there is none in f16
    }
    return is_offered_with(is_offered_, graph_, node, node.op, *src, dst);
  }

  // True when it runs in half precision.
  bool add(const Node& node, RewriteLog& log) {
    const bool is_half = runs_in_half(node);
    std::vector<ValueId> src;
    for (const ValueId id : node.src) {
      const bool is_halved = is_half && !is_constant(id);
      src.push_back(in(id, is_halved ? DType::f16 : graph_.value(id).desc.dtype));
    }
    std::vector<std::string> names;
    for (const ValueId id : node.dst) {
      const std::string& name = graph_.value(id).name;
      names.push_back(is_half && graph_.is_output(id) ? name + ".f16" : name);
    }
    const NodeId added = halved_.add_node(node.name, node.op, std::move(src), std::move(names));
    for (std::size_t i = 0; i < node.dst.size(); ++i)
      versions(node.dst[i]).own = halved_.node(added).dst[i];
    if (!is_half && !moves_bytes(node.op) && halved_operands(node))
      log.add("{} {} stays in single precision: no kernel for f16", node.op.name(), node.name);
    return is_half;
  }

  const Graph& graph_;
  const Offered& is_offered_;
  Graph halved_;
  std::vector<Versions> values_;
};

// A cast to what the value is already, or back to what it was cast from.
std::optional<ValueId> uncast(const Graph& graph, const Node& node) {
  const Value& operand = graph.value(node.src[0]);
  const DType to = graph.value(node.dst[0]).desc.dtype;
  if (operand.desc.dtype == to) return node.src[0];
  if (!operand.producer) return std::nullopt;
  const Node& before = graph.node(*operand.producer);
  if (!before.op.as<Cast>() || graph.value(before.src[0]).desc.dtype != to) return std::nullopt;
  return before.src[0];
}

// The operator before the cast, giving what the cast gives; nothing where it cannot.
std::optional<Op> with_cast(const Op& op, DType to) {
  if (const auto* preprocess = op.as<Preprocess>()) {
    Preprocess other = *preprocess;
    other.dtype = to;
    return other;
  }
  if (const auto* softmax = op.as<Softmax>(); softmax != nullptr && to == DType::f32) {
    Softmax other = *softmax;
    other.widen = true;
    return other;
  }
  return std::nullopt;
}

bool fold_into_producer(Graph& graph, NodeId id, const Offered& is_offered, RewriteLog& log) {
  const auto source = only_source(graph, id);
  if (!source) return false;
  const Node& before = graph.node(*source);
  const auto op = with_cast(before.op, graph.value(graph.node(id).dst[0]).desc.dtype);
  if (!op) return false;
  const auto src = graph.descs(before.src);
  if (!is_offered_with(is_offered, graph, before, *op, src, op->infer(src))) return false;
  log.add("folded cast {} into {}", graph.node(id).name, before.name);
  fuse_nodes(graph, *source, id, *op, before.src, before.name);
  return true;
}

}  // namespace

bool use_half_precision(Graph& graph, RewriteLog& log, const Offered& is_offered) {
  Graph halved = Halving(graph, is_offered).run(log);
  const bool changed = halved.nodes().size() != graph.nodes().size();  // else nothing was cast
  halved.tidy();
  graph = std::move(halved);
  fold_casts(graph, log, is_offered);
  return changed;
}

bool fold_casts(Graph& graph, RewriteLog& log, const Offered& is_offered) {
  bool changed = false;
  std::map<std::pair<ValueId, DType>, ValueId> known;
  for (std::size_t i = 0; i < graph.nodes().size(); ++i) {
    const auto id = NodeId(static_cast<std::uint32_t>(i));
    const Node& node = graph.node(id);
    if (!node.op.as<Cast>() || node.src.empty()) continue;
    const ValueId result = node.dst[0];
    if (const auto same = uncast(graph, node); same && !graph.is_output(result)) {
      log.add("dropped cast {}", node.name);
      graph.replace_uses(result, *same);
      graph.node(id).src.clear();
      changed = true;
    } else if (fold_into_producer(graph, id, is_offered, log)) {
      changed = true;
    } else {
      const auto [first, is_new] =
          known.try_emplace({node.src[0], graph.value(result).desc.dtype}, result);
      if (is_new || graph.is_output(result)) continue;
      log.add("dropped cast {}, which is there twice", node.name);
      graph.replace_uses(result, first->second);
      graph.node(id).src.clear();
      changed = true;
    }
  }
  if (changed) graph.tidy();
  return changed;
}

}  // namespace maru
