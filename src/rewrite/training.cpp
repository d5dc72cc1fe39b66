#include "rewrite/training.h"

#include <algorithm>
#include <map>
#include <set>

#include "base/error.h"
#include "ops/batch_norm.h"
#include "ops/dropout.h"
#include "ops/eltwise.h"
#include "ops/gradient.h"
#include "ops/identity.h"
#include "ops/operator.h"
#include "ops/reduce.h"
#include "ops/reshape.h"
#include "ops/unary.h"
#include "rewrite/recompute.h"

namespace maru {
namespace {

std::size_t index(ValueId id) { return static_cast<std::size_t>(id); }

class Building {
 public:
  Building(Graph& graph, const TrainingOptions& options)
      : graph_(graph),
        options_(options),
        buckets_(graph, options.accumulate ? 1 : options.ranks, options.bucket_bytes) {}

  Trained run() {
    drop_at_random();
    Trained trained;
    trained.statistics = use_batch_statistics(graph_);
    make_states();
    find_dependents();
    gradients_.resize(graph_.values().size());
    const std::size_t count = graph_.nodes().size();  // of the network
    seed();
    for (std::size_t n = count; n-- > 0;) {
      backward(NodeId(static_cast<std::uint32_t>(n)));
      collect(n);
    }
    buckets_.close();
    keep_gradients();
    if (options_.recompute) {
      trained.recomputed = recompute(graph_, count);
    } else {
      graph_.tidy();
    }
    trained.parameters = std::move(parameters_);
    return trained;
  }

 private:
  // What stands in for Dropout when a network is used becomes the real one.
  void drop_at_random() {
    std::optional<ValueId> step;
    for (std::size_t n = 0; n < graph_.nodes().size(); ++n) {
      Node& node = graph_.node(NodeId(static_cast<std::uint32_t>(n)));
      const auto* identity = node.op.as<Identity>();
      if (identity == nullptr || identity->reason != Identity::Reason::dropout) continue;
      if (!step) step = graph_.add_input("step", {DType::f32, {1}});
      Node& changed = graph_.node(NodeId(static_cast<std::uint32_t>(n)));
      // Layers below, the caller's seed above; 0 is its layer alone.
      const std::uint64_t seed = (options_.seed << 20) ^ n;
      const std::int64_t elements = graph_.value(changed.src[0]).desc.count();
      changed.op = Dropout{identity->ratio, static_cast<std::int64_t>(seed), options_.rank * elements};
      changed.src.push_back(*step);
      try {
        changed.op.infer(graph_.descs(changed.src));
      } catch (const Error& error) {
        throw error.within(changed.name);
      }
    }
  }

  void make_states() {
    std::map<const Constant*, ValueId> state_of;  // a shared parameter is one
    std::set<std::string> names;
    for (std::size_t n = 0; n < graph_.nodes().size(); ++n) {
      const auto id = NodeId(static_cast<std::uint32_t>(n));
      for (std::size_t i = 0; i < graph_.node(id).src.size(); ++i) {
        const ValueId src = graph_.node(id).src[i];
        const auto constant = graph_.value(src).constant;
        if (!constant || is_recorded(graph_.node(id), i)) continue;
        const auto known = state_of.find(constant.get());
        if (known != state_of.end()) {
          graph_.node(id).src[i] = known->second;
          continue;
        }
        const std::string name = graph_.value(src).name;
        const auto [rate, decay] = options_.rates(name);
        if (rate == 0) continue;
        if (!names.insert(name).second)
          throw Error(graph_.node(id).name, "parameters of different names", name,
                      "layers of different names");
        const ValueId state = graph_.add_state(name, {DType::f32, constant->desc().shape});
        parameters_.push_back({name, constant->desc().shape, constant, rate, decay});
        states_.push_back(state);
        first_readers_.push_back(n);
        state_of[constant.get()] = state;
        graph_.node(id).src[i] = state;
      }
    }
    if (parameters_.empty())
      throw Error(fmt::format("graph {}", graph_.name), "a parameter to train", "none",
                  "an lr_mult above 0");
  }

  // Statistics of a batch normalisation that goes by those recorded: nothing to train.
  static bool is_recorded(const Node& node, std::size_t operand) {
    return node.op.as<BatchNorm>() != nullptr && operand > 0;
  }

  // Values that change when a trained parameter does.
  void find_dependents() {
    depends_.assign(graph_.values().size(), false);
    for (const ValueId state : states_) depends_[index(state)] = true;
    for (const Node& node : graph_.nodes()) {
      if (std::ranges::none_of(node.src, [&](ValueId id) { return depends_[index(id)]; })) continue;
      for (const ValueId id : node.dst) depends_[index(id)] = true;
    }
  }

  void seed() {
    if (options_.losses.empty())
      throw Error(fmt::format("graph {}", graph_.name), "a loss to train for", "none",
                  "a layer like SoftmaxWithLoss");
    std::optional<ValueId> scale;
    for (const WeightedLoss& loss : options_.losses) {
      const ValueId value = graph_.require(loss.value);
      const Shape shape = graph_.value(value).desc.shape;
      if (shape.count() != 1) throw Error(loss.value, "a loss of one element", shape.str());
      if (options_.scaled) {
        if (!scale) scale = graph_.add_input("loss scale", {DType::f32, {1}});
        add(value, scaled_seed(loss, *scale, shape));
        continue;
      }
      const std::vector<float> weight{static_cast<float>(loss.weight)};
      add(value, graph_.add_constant(loss.value + "/loss weight",
                                     std::make_shared<const Constant>(shape, weight)));
    }
  }

  // The loss scale times the weight, in the shape of the loss.
  ValueId scaled_seed(const WeightedLoss& loss, ValueId scale, const Shape& shape) {
    const auto append = [&](const std::string& name, Op op, ValueId src) {
      const NodeId id = graph_.add_node(name, std::move(op), {src}, {name});
      return graph_.node(id).dst[0];
    };
    ValueId seed = scale;
    if (loss.weight != 1) {
      const double weight{static_cast<float>(loss.weight)};  // as the constant would be
      seed = append(loss.value + "/loss weight", Unary{Unary::Kind::power, 1, weight}, seed);
    }
    if (graph_.value(seed).desc.shape != shape)
      seed = append(loss.value + "/loss seed", Reshape{{shape.begin(), shape.end()}}, seed);
    return seed;
  }

  void add(ValueId value, ValueId gradient) {
    if (gradients_.size() <= index(value)) gradients_.resize(index(value) + 1);
    gradients_[index(value)].push_back(gradient);
  }

  // The sum of what came back to the value; nothing where no loss depends on it.
  std::optional<ValueId> total(ValueId value) {
    if (index(value) >= gradients_.size() || gradients_[index(value)].empty()) return std::nullopt;
    std::vector<ValueId>& terms = gradients_[index(value)];
    if (terms.size() > 1) {
      const std::string name = graph_.value(value).name + "/gradient sum";
      const NodeId sum = graph_.add_node(name, Eltwise{}, terms, {name});
      terms = {graph_.node(sum).dst[0]};
    }
    return terms[0];
  }

  void backward(NodeId id) {
    const Node node = graph_.node(id);
    GradientCall call{graph_, node, {}, {}};
    for (const ValueId src : node.src) call.wanted.push_back(depends_[index(src)]);
    if (std::ranges::none_of(call.wanted, [](bool wanted) { return wanted; })) return;
    for (const ValueId dst : node.dst) call.dst.push_back(total(dst));
    if (std::ranges::none_of(call.dst, [](const auto& g) { return g.has_value(); })) return;
    Gradients found;
    try {
      found = gradient_rule(node.op.name())(call);
    } catch (const Error& error) {
      throw error.within(node.name);
    }
    for (std::size_t i = 0; i < found.size(); ++i) {
      if (found[i] && call.wanted[i]) add(node.src[i], *found[i]);
    }
  }

  // The gradients of parameters that no earlier node reads are whole.
  void collect(std::size_t node) {
    means_.resize(parameters_.size());
    for (std::size_t p = 0; p < parameters_.size(); ++p) {
      if (first_readers_[p] != node) continue;
      if (const auto gradient = total(states_[p]))
        buckets_.add(*gradient, [this, p](ValueId mean) { means_[p] = mean; });
    }
  }

  void keep_gradients() {
    if (std::ranges::none_of(means_, [](const auto& mean) { return mean.has_value(); }))
      throw Error(graph_.name, "a loss that depends on a parameter", "none",
                  "a loss behind the layers that are trained, with a loss_weight above 0");
    // The last layer's come first, so that each is added as soon as it is there.
    for (std::size_t p = parameters_.size(); p-- > 0;) {
      const Parameter& parameter = parameters_[p];
      std::optional<ValueId> gradient = means_[p];
      const ValueId state = graph_.add_state(parameter.gradient(), {DType::f32, parameter.shape});
      // Where no loss depends on it the state stays as it begins, zero, so that its decay alone changes
      // the parameter, as in Caffe.
      if (!gradient) continue;
      if (options_.accumulate) {
        const std::string name = parameter.gradient() + " accumulated";
        const NodeId sum = graph_.add_node(name, Eltwise{}, {state, *gradient}, {name});
        gradient = graph_.node(sum).dst[0];
      }
      graph_.states.back().end = *gradient;
    }
  }

  Graph& graph_;
  const TrainingOptions& options_;
  std::vector<Parameter> parameters_;
  GradientBuckets buckets_;
  std::vector<ValueId> states_;                  // per parameter
  std::vector<std::size_t> first_readers_;       // per parameter: the node
  std::vector<std::optional<ValueId>> means_;    // per parameter: its gradient, over all ranks
  std::vector<bool> depends_;                    // per value of the network
  std::vector<std::vector<ValueId>> gradients_;  // per value: of those that read it
};

}  // namespace

Trained build_gradients(Graph& graph, const TrainingOptions& options) {
  return Building(graph, options).run();
}

Graph build_update(const std::vector<Parameter>& parameters, const Update& solver, bool clears,
                   int ranks) {
  Graph graph;
  graph.name = "update";
  const ValueId controls = graph.add_input("controls", {DType::f32, {Update::kControls}});
  const auto add = [&](const std::string& name, Op op, std::vector<ValueId> src) {
    const NodeId id = graph.add_node(name, std::move(op), std::move(src), {name});
    return graph.node(id).dst[0];
  };
  std::vector<ValueId> gradients, squares;
  for (const Parameter& parameter : parameters)
    gradients.push_back(graph.add_state(parameter.gradient(), {DType::f32, parameter.shape}));
  GradientBuckets buckets(graph, ranks, GradientBuckets::kBytes);
  for (ValueId& gradient : gradients)
    buckets.add(gradient, [&gradient](ValueId mean) { gradient = mean; });
  buckets.close();
  for (std::size_t p = 0; p < parameters.size(); ++p)
    squares.push_back(
        add(parameters[p].gradient() + "/square", Reduce{0, 0}, {gradients[p], gradients[p]}));
  const ValueId sum =
      squares.size() == 1 ? squares[0] : add("gradient squares", Eltwise{}, std::move(squares));
  const ValueId norm = add("gradient norm", Unary{Unary::Kind::power, 0.5}, {sum});
  graph.outputs.push_back(norm);
  for (std::size_t p = 0; p < parameters.size(); ++p) {
    const Parameter& parameter = parameters[p];
    const TensorDesc desc{DType::f32, parameter.shape};
    const std::size_t first = graph.states.size();
    std::vector<ValueId> src{graph.add_state(parameter.name, desc)};
    std::vector<std::string> names{parameter.name + " updated"};
    for (std::size_t i = 0; i < solver.states(); ++i) {
      src.push_back(graph.add_state(parameter.memory(i), desc));
      names.push_back(parameter.memory(i) + " updated");
    }
    src.insert(src.end(), {gradients[p], norm, controls});
    Update update = solver;
    update.rate_mult = parameter.rate_mult;
    update.decay_mult = parameter.decay_mult;
    update.clears = clears;
    if (clears) names.push_back(parameter.gradient() + " cleared");
    const NodeId id = graph.add_node(parameter.name + "/update", update, src, names);
    for (std::size_t i = 0; i <= solver.states(); ++i)
      graph.states[first + i].end = graph.node(id).dst[i];
    if (clears) graph.states[p].end = graph.node(id).dst.back();
  }
  return graph;
}

void read_states(Graph& graph, const std::function<std::optional<Shape>(const std::string&)>& state) {
  std::map<std::string, ValueId> known;
  for (std::size_t n = 0; n < graph.nodes().size(); ++n) {
    const auto id = NodeId(static_cast<std::uint32_t>(n));
    for (std::size_t i = 0; i < graph.node(id).src.size(); ++i) {
      const Value& value = graph.value(graph.node(id).src[i]);
      if (!value.constant) continue;
      const std::string name = value.name;
      const Shape shape = value.desc.shape;
      const std::optional<Shape> wanted = state(name);
      if (!wanted) continue;
      if (*wanted != shape)
        throw Error(graph.node(id).name, fmt::format("{} as it is trained, {}", name, wanted->str()),
                    shape.str(), "the same layer in the training and the test network");
      auto found = known.find(name);
      if (found == known.end())
        found = known.emplace(name, graph.add_state(name, {DType::f32, shape})).first;
      graph.node(id).src[i] = found->second;
    }
  }
  graph.tidy();
}

}  // namespace maru
