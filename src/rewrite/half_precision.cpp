#include <algorithm>
#include <map>
#include <memory>

#include "ops/all_reduce.h"
#include "ops/cast.h"
#include "ops/concat.h"
#include "ops/conv_grad.h"
#include "ops/eltwise.h"
#include "ops/identity.h"
#include "ops/inner_product_grad.h"
#include "ops/preprocess.h"
#include "ops/reduce.h"
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

template <class A>
void widen_if(const Op& op, std::optional<Op>& wide) {
  if (const auto* known = op.as<A>()) {
    A other = *known;
    other.widen = true;
    wide = other;
  }
}

// The operator giving f32 where its operands are f16; nothing where it cannot.
std::optional<Op> widened(const Op& op) {
  std::optional<Op> wide;
  widen_if<Softmax>(op, wide);
  widen_if<ConvGradWeight>(op, wide);
  widen_if<InnerProductGradWeight>(op, wide);
  widen_if<Reduce>(op, wide);
  return wide;
}

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
    single_.resize(graph.nodes().size());
    for (const State& state : graph.states) {
      is_state_.resize(graph.values().size());
      is_state_[static_cast<std::size_t>(state.begin)] = true;
      if (state.end != state.begin) keep_sums_of(state.end);
    }
    for (const Node& node : graph.nodes()) {
      if (is_of_single_numbers(node)) keep(graph.id_of(node), "a single number");
      const bool is_last = node.op.as<Softmax>() && graph.is_output(node.dst[0]);
      if (is_last || (!node.src.empty() && node.op.keeps_f32(0))) keep_digits_before(node);
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

  bool is_state(ValueId id) const {
    return !is_state_.empty() && is_state_[static_cast<std::size_t>(id)];
  }
  // Biases, scales, slopes: as little as they are, kernels take them in f32, as constants of the kind.
  bool is_vector_of_parameters(ValueId id) const {
    return is_state(id) && graph_.value(id).desc.shape.rank() <= 1;
  }

  void keep(NodeId id, std::string_view why) { single_[static_cast<std::size_t>(id)] = why; }

  // Losses, their weights and their gradients: nothing is won, and a loss scale is beyond a half's
  // range.
  bool is_of_single_numbers(const Node& node) const {
    const auto is_one = [&](ValueId id) { return graph_.value(id).desc.count() == 1; };
    return std::ranges::all_of(node.src, is_one) && std::ranges::all_of(node.dst, is_one);
  }

  // What a state holds after a run is summed up in f32, term by term.
  void keep_sums_of(ValueId value) {
    const auto producer = graph_.value(value).producer;
    if (!producer) return;
    const Node& node = graph_.node(*producer);
    const bool adds_up = node.op.as<Eltwise>() != nullptr || is_shared(node.op);
    if (!moves_bytes(node.op) && !adds_up) return;
    keep(*producer, "a state is summed of it");
    for (const ValueId src : node.src) keep_sums_of(src);
  }

  // What rounding to a half does to the operand of an exponential comes back as large as that is:
  // scores of SqueezeNet, which averages its logits last, were off by 5e-3 instead of 1e-3. So from the
  // last layer with parameters on, where there is more than the softmax or the loss itself, nothing is
  // rounded on the way to it. The way back from a loss is in halves: it is rounded in any case.
  void keep_digits_before(const Node& node) {
    std::vector<NodeId> last;
    bool computes = false;
    for (ValueId at = node.src[0];;) {
      const auto producer = graph_.value(at).producer;
      if (!producer) break;
      const Node& before = graph_.node(*producer);
      if (before.dst[0] != at || !reads_one(before) || before.op.keeps_f32(0)) break;
      last.push_back(*producer);
      computes |= !moves_bytes(before.op);
      at = before.src[0];
    }
    if (!computes) return;
    if (!node.op.keeps_f32(0)) last.push_back(graph_.id_of(node));
    for (const NodeId id : last) keep(id, "scores come of it");
  }

  // Beside what is f32 in any case.
  static bool reads_one(const Node& node) {
    if (node.src.empty()) return false;
    for (std::size_t i = 1; i < node.src.size(); ++i) {
      if (!node.op.keeps_f32(i)) return false;
    }
    return true;
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

  // What the node's operands are where data is f16; nothing where it has data of another kind, or none.
  std::optional<std::vector<TensorDesc>> halved_operands(const Node& node,
                                                         bool with_vectors = false) const {
    std::vector<TensorDesc> src = graph_.descs(node.src);
    bool has_halves = false;
    for (std::size_t i = 0; i < src.size(); ++i) {
      const ValueId id = node.src[i];
      src[i].dtype = type_before(id);
      if (is_constant(id) || node.op.keeps_f32(i)) continue;
      if (type_before(id) != DType::f32) return std::nullopt;
      if (is_vector_of_parameters(id) && !with_vectors) continue;
      src[i].dtype = DType::f16;
      has_halves = true;
    }
    if (!has_halves) return std::nullopt;
    return src;
  }

  // A node in half precision: what it, its operands and its results then are.
  struct Halved {
    Op op;
    std::vector<TensorDesc> src, dst;
  };

  std::optional<Halved> in_half(const Node& node) {
    if (moves_bytes(node.op)) {
      if (std::ranges::any_of(node.src, [&](ValueId id) { return is_constant(id); }))
        return std::nullopt;
      if (std::ranges::none_of(node.src, [&](ValueId id) { return is_half(id); })) return std::nullopt;
    }
    // What a state holds comes out in f32 where it can, rather than by a cast: nodes stay in their
    // order, in which memory is soon free again.
    const auto is_kept = [&](ValueId id) {
      return std::ranges::find(graph_.states, id, &State::end) != graph_.states.end();
    };
    std::vector<std::optional<Op>> ways{node.op, widened(node.op)};
    if (std::ranges::any_of(node.dst, is_kept)) std::swap(ways[0], ways[1]);
    for (const std::optional<Op>& op : ways) {
      for (const bool with_vectors : {false, true}) {
        const auto src = halved_operands(node, with_vectors);
        if (!op || !src) continue;
        try {
          Halved halved{*op, *src, op->infer(*src)};
          if (keeps_bytes(*op) || is_offered_with(is_offered_, graph_, node, *op, *src, halved.dst))
            return halved;
        } catch (const Error&) {
          continue;  // a constant that is data, of which there is none in f16
        }
      }
    }
    return std::nullopt;
  }

  // True when it runs in half precision.
  bool halve(NodeId id, RewriteLog& log) {
    const std::string_view why = single_[static_cast<std::size_t>(id)];
    const std::optional<Halved> halved = why.empty() ? in_half(graph_.node(id)) : std::nullopt;
    if (const Node& node = graph_.node(id); !halved && !moves_bytes(node.op) && halved_operands(node)) {
      log.add("{} {} stays in single precision: {}", node.op.name(), node.name,
              why.empty() ? "no kernel for f16" : why);
    }
    for (std::size_t i = 0; i < graph_.node(id).src.size(); ++i) {
      const ValueId src = graph_.node(id).src[i];
      const ValueId read = in(src, halved ? halved->src[i].dtype : type_before(src));  // may add a node
      graph_.node(id).src[i] = read;
    }
    if (halved) graph_.node(id).op = halved->op;
    for (std::size_t i = 0; halved && i < halved->dst.size(); ++i) {
      if (halved->dst[i].dtype == DType::f16) halve_result(id, i);
    }
    return halved.has_value();
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
  std::vector<bool> is_state_;            // by value; empty where there are none
  std::vector<std::string_view> single_;  // by node: why it has no half, whatever is offered
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
  return to == DType::f32 ? widened(op) : std::nullopt;
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
