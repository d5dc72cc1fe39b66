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

// Goes through the nodes in order and makes each f16 that can be. Values keep their ids and names, so
// that of several of one name the latest stays the latest; what it adds is called "name.f16" or
// "name.f32".
class Halving {
 public:
  Halving(Graph& graph, const Offered& is_offered) : graph_(graph), is_offered_(is_offered) {
    for (std::size_t i = 0; i < graph.values().size(); ++i) {
      versions_.push_back({ValueId(static_cast<std::uint32_t>(i)), std::nullopt});
      types_.push_back(graph.values()[i].desc.dtype);
    }
    keeps_digits_.resize(graph.nodes().size());
    for (const Node& node : graph.nodes()) {
      if (node.op.as<Softmax>() && graph.is_output(node.dst[0])) keep_digits_before(node);
    }
  }

  // How many nodes now run in half precision.
  std::size_t run(RewriteLog& log) {
    const std::size_t nodes = graph_.nodes().size();  // casts come behind them
    std::size_t halves = 0;
    for (std::size_t i = 0; i < nodes; ++i)
      halves += halve(NodeId(static_cast<std::uint32_t>(i)), log) ? 1 : 0;
    log.add("half precision in {} of {} layers", halves, nodes);
    return halves;
  }

 private:
  // A value of the graph as it is computed, and cast to the other type.
  struct Versions {
    ValueId own;
    std::optional<ValueId> cast;
  };

  Versions& versions(ValueId id) { return versions_[static_cast<std::size_t>(id)]; }
  DType type_before(ValueId id) const { return types_[static_cast<std::size_t>(id)]; }
  bool is_half(ValueId id) { return graph_.value(versions(id).own).desc.dtype == DType::f16; }
  bool is_constant(ValueId id) const { return graph_.value(id).constant != nullptr; }

  // What rounding to a half does to the operand of an exponential comes back as large as that is:
  // scores of SqueezeNet, which averages its logits last, were off by 5e-3 instead of 1e-3. So from the
  // last layer with parameters on, where there is more than the softmax itself, nothing is rounded.
  void keep_digits_before(const Node& softmax) {
    std::vector<NodeId> last{graph_.id_of(softmax)};
    bool computes = false;
    for (;;) {
      const auto source = only_source(graph_, last.back());
      if (!source || graph_.node(*source).src.size() != 1) break;
      last.push_back(*source);
      computes |= !moves_bytes(graph_.node(*source).op);
    }
    if (!computes) return;
    for (const NodeId id : last) keeps_digits_[static_cast<std::size_t>(id)] = true;
  }

  // The value in that type, cast at most once.
  ValueId in(ValueId id, DType wanted) {
    Versions& known = versions(id);
    if (graph_.value(known.own).desc.dtype == wanted) return known.own;
    if (!known.cast) {
      const std::string name = fmt::format("{}.{}", graph_.value(id).name, to_string(wanted));
      known.cast = graph_.node(graph_.add_node(name, Cast{wanted}, {known.own}, {name})).dst[0];
    }
    return *known.cast;
  }

  // What the node's operands are where data is f16; nothing where it has data of another kind.
  std::optional<std::vector<TensorDesc>> halved_operands(const Node& node) const {
    std::vector<TensorDesc> src = graph_.descs(node.src);
    for (std::size_t i = 0; i < src.size(); ++i) {
      if (is_constant(node.src[i])) continue;
      if (type_before(node.src[i]) != DType::f32) return std::nullopt;
      src[i].dtype = DType::f16;
    }
    return src;
  }

  bool runs_in_half(const Node& node) {
    const auto src = halved_operands(node);
    if (!src) return false;
    if (moves_bytes(node.op)) {
      const auto is_other = [&](ValueId id) { return is_constant(id); };
      if (std::ranges::any_of(node.src, is_other)) return false;
      if (std::ranges::none_of(node.src, [&](ValueId id) { return is_half(id); })) return false;
      if (keeps_bytes(node.op)) return true;
    }
    std::vector<TensorDesc> dst;
    try {
      dst = node.op.infer(*src);
    } catch (const Error&) {
      return false;  // data that is a constant, of which there is none in f16
    }
    return is_offered_with(is_offered_, graph_, node, node.op, *src, dst);
  }

  // True when it runs in half precision.
  bool halve(NodeId id, RewriteLog& log) {
    const bool keeps_digits = keeps_digits_[static_cast<std::size_t>(id)];
    const bool becomes_half = !keeps_digits && runs_in_half(graph_.node(id));
    if (const Node& node = graph_.node(id);
        !becomes_half && !moves_bytes(node.op) && halved_operands(node)) {
      log.add("{} {} stays in single precision: {}", node.op.name(), node.name,
              keeps_digits ? "scores come of it" : "no kernel for f16");
    }
    for (std::size_t i = 0; i < graph_.node(id).src.size(); ++i) {
      const ValueId src = graph_.node(id).src[i];
      const DType wanted = becomes_half && !is_constant(src) ? DType::f16 : type_before(src);
      const ValueId read = in(src, wanted);  // may add a node
      graph_.node(id).src[i] = read;
    }
    for (std::size_t i = 0; becomes_half && i < graph_.node(id).dst.size(); ++i) halve_result(id, i);
    return becomes_half;
  }

  void halve_result(NodeId id, std::size_t index) {
    const ValueId result = graph_.node(id).dst[index];
    graph_.value(result).desc.dtype = DType::f16;
    if (!graph_.is_output(result)) return;
    // The caller's value is what a cast makes of another, which the node computes.
    const ValueId single = in(result, DType::f32);
    const NodeId cast = *graph_.value(single).producer;
    std::swap(graph_.value(result).desc, graph_.value(single).desc);
    std::swap(graph_.value(result).producer, graph_.value(single).producer);
    graph_.value(single).name = graph_.value(result).name + ".f16";
    graph_.node(id).dst[index] = single;
    graph_.node(cast).src = {single};
    graph_.node(cast).dst = {result};
    versions(result) = {single, result};
  }

  Graph& graph_;
  const Offered& is_offered_;
  std::vector<Versions> versions_;  // by the ids of before
  std::vector<DType> types_;
  std::vector<bool> keeps_digits_;  // by node: no half, whatever is offered
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
  graph.tidy();
  const bool changed = Halving(graph, is_offered).run(log) > 0;
  graph.tidy();
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
