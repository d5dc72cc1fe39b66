#include "graph/graph.h"

#include <algorithm>

#include "base/error.h"
#include "base/text.h"

namespace maru {
namespace {

std::size_t index(ValueId id) { return static_cast<std::size_t>(id); }
std::size_t index(NodeId id) { return static_cast<std::size_t>(id); }

}  // namespace

ValueId Graph::add_input(std::string value_name, TensorDesc desc) {
  const auto id = ValueId(static_cast<std::uint32_t>(values_.size()));
  values_.push_back({std::move(value_name), desc, std::nullopt, nullptr});
  inputs.push_back(id);
  return id;
}

ValueId Graph::add_state(std::string value_name, TensorDesc desc) {
  const auto id = ValueId(static_cast<std::uint32_t>(values_.size()));
  values_.push_back({std::move(value_name), desc, std::nullopt, nullptr});
  states.push_back({id, id});
  return id;
}

ValueId Graph::add_constant(std::string value_name, std::shared_ptr<const Constant> constant) {
  const auto id = ValueId(static_cast<std::uint32_t>(values_.size()));
  const TensorDesc desc = constant->desc();
  values_.push_back({std::move(value_name), desc, std::nullopt, std::move(constant)});
  return id;
}

NodeId Graph::add_node(std::string node_name, Op op, std::vector<ValueId> src,
                       std::vector<std::string> dst_names) {
  const std::string where = fmt::format("{} {}", op.name(), node_name);
  std::vector<TensorDesc> results;
  try {
    results = op.infer(descs(src));
  } catch (const Error& error) {
    throw Error(where, error.expected(), error.got(), error.hint());
  }
  if (results.size() != dst_names.size()) {
    throw Error(where, fmt::format("{} outputs", results.size()), fmt::format("{}", dst_names.size()),
                "as many tops as the layer has outputs");
  }
  const auto id = NodeId(static_cast<std::uint32_t>(nodes_.size()));
  std::vector<ValueId> dst;
  for (std::size_t i = 0; i < results.size(); ++i) {
    dst.push_back(ValueId(static_cast<std::uint32_t>(values_.size())));
    values_.push_back({std::move(dst_names[i]), results[i], id, nullptr});
  }
  nodes_.push_back({std::move(node_name), std::move(op), std::move(src), std::move(dst)});
  return id;
}

std::optional<ValueId> Graph::find(std::string_view value_name) const {
  for (std::size_t i = values_.size(); i-- > 0;) {
    if (values_[i].name == value_name && !values_[i].constant) {
      return ValueId(static_cast<std::uint32_t>(i));
    }
  }
  return std::nullopt;
}

ValueId Graph::require(std::string_view value_name) const {
  if (const auto id = find(value_name)) return *id;
  std::vector<std::string_view> names;
  for (const Value& value : values_) {
    if (!value.constant) names.push_back(value.name);
  }
  throw Error(fmt::format("graph {}", name), fmt::format("a value named \"{}\"", value_name),
              "no such value", closest_names(value_name, names));
}

std::vector<NodeId> Graph::readers(ValueId id) const {
  std::vector<NodeId> found;
  for (const Node& node : nodes_) {
    if (std::ranges::find(node.src, id) != node.src.end()) found.push_back(id_of(node));
  }
  return found;
}

bool Graph::is_output(ValueId id) const {
  return std::ranges::find(outputs, id) != outputs.end() ||
         std::ranges::find(states, id, &State::end) != states.end();
}

std::vector<TensorDesc> Graph::descs(std::span<const ValueId> ids) const {
  std::vector<TensorDesc> found;
  for (const ValueId id : ids) found.push_back(value(id).desc);
  return found;
}

void Graph::replace_uses(ValueId from, ValueId to) {
  for (Node& node : nodes_) std::ranges::replace(node.src, from, to);
  std::ranges::replace(outputs, from, to);
  for (State& state : states) {
    if (state.end == from && state.begin != from) state.end = to;
  }
}

void Graph::tidy() {
  enum class Mark : std::uint8_t { unseen, open, done };
  std::vector<Mark> marks(nodes_.size(), Mark::unseen);
  std::vector<std::size_t> order;  // nodes that an output needs, producers first
  struct Visit {
    std::size_t node, next_src;
  };
  std::vector<Visit> stack;
  const auto visit = [&](ValueId id) {
    const auto producer = value(id).producer;
    if (!producer || marks[index(*producer)] == Mark::done) return;
    if (marks[index(*producer)] == Mark::open) {
      throw Error(fmt::format("graph {}", name), "layers without a cycle",
                  fmt::format("\"{}\" which needs its own result", node(*producer).name),
                  "checking the bottoms of that layer");
    }
    marks[index(*producer)] = Mark::open;
    stack.push_back({index(*producer), 0});
  };
  // Outputs are walked in node order so that a tidy graph keeps the order of the file.
  std::vector<std::size_t> roots;
  const auto add_root = [&](ValueId id) {
    if (value(id).producer) roots.push_back(index(*value(id).producer));
  };
  std::ranges::for_each(outputs, add_root);
  std::ranges::for_each(states, add_root, &State::end);
  std::ranges::sort(roots);
  for (const std::size_t root : roots) {
    visit(nodes_[root].dst.front());
    while (!stack.empty()) {
      Visit& top = stack.back();
      if (top.next_src < nodes_[top.node].src.size()) {
        visit(nodes_[top.node].src[top.next_src++]);
      } else {
        marks[top.node] = Mark::done;
        order.push_back(top.node);
        stack.pop_back();
      }
    }
  }

  std::vector<bool> used(values_.size(), false);
  for (const ValueId id : inputs) used[index(id)] = true;
  for (const ValueId id : outputs) used[index(id)] = true;
  for (const State& state : states) used[index(state.begin)] = used[index(state.end)] = true;
  for (const std::size_t i : order) {
    for (const ValueId id : nodes_[i].src) used[index(id)] = true;
    for (const ValueId id : nodes_[i].dst) used[index(id)] = true;
  }
  std::vector<ValueId> renamed(values_.size());
  std::vector<Value> kept_values;
  for (std::size_t i = 0; i < values_.size(); ++i) {
    if (!used[i]) continue;
    renamed[i] = ValueId(static_cast<std::uint32_t>(kept_values.size()));
    kept_values.push_back(std::move(values_[i]));
    kept_values.back().producer.reset();
  }
  const auto rename = [&](std::vector<ValueId>& ids) {
    for (ValueId& id : ids) id = renamed[index(id)];
  };
  std::vector<Node> kept_nodes;
  for (const std::size_t i : order) {
    Node& kept = kept_nodes.emplace_back(std::move(nodes_[i]));
    rename(kept.src);
    rename(kept.dst);
    for (const ValueId id : kept.dst) {
      kept_values[index(id)].producer = NodeId(static_cast<std::uint32_t>(kept_nodes.size() - 1));
    }
  }
  rename(inputs);
  rename(outputs);
  for (State& state : states) state = {renamed[index(state.begin)], renamed[index(state.end)]};
  values_ = std::move(kept_values);
  nodes_ = std::move(kept_nodes);
}

void Graph::verify() const {
  std::vector<bool> written(values_.size(), false);
  for (const ValueId id : inputs) written.at(index(id)) = true;
  for (const State& state : states) {
    MARU_ASSERT(!value(state.begin).producer && !value(state.begin).constant);
    MARU_ASSERT(value(state.begin).desc == value(state.end).desc);
    written.at(index(state.begin)) = true;
  }
  for (std::size_t i = 0; i < values_.size(); ++i) {
    if (values_[i].constant) written[i] = true;
  }
  for (const Node& node : nodes_) {
    for (const ValueId id : node.src) MARU_ASSERT(written.at(index(id)));
    const auto expected = node.op.infer(descs(node.src));
    MARU_ASSERT(expected.size() == node.dst.size());
    for (std::size_t i = 0; i < node.dst.size(); ++i) {
      const ValueId id = node.dst[i];
      MARU_ASSERT(!written.at(index(id)));
      MARU_ASSERT(value(id).producer == id_of(node));
      MARU_ASSERT(value(id).desc.shape == expected[i].shape);
      MARU_ASSERT(value(id).desc.dtype == expected[i].dtype);
      written[index(id)] = true;
    }
  }
  for (const ValueId id : outputs) MARU_ASSERT(written.at(index(id)));
  for (const State& state : states) MARU_ASSERT(written.at(index(state.end)));
}

std::string Graph::print() const {
  std::string text = fmt::format("graph {}\n", name);
  for (const ValueId id : inputs) {
    text += fmt::format("  input {}: {} {}\n", value(id).name, to_string(value(id).desc.dtype),
                        value(id).desc.shape.str());
  }
  const auto names = [&](const std::vector<ValueId>& ids) {
    std::string joined;
    for (const ValueId id : ids) joined += (joined.empty() ? "" : ", ") + value(id).name;
    return joined;
  };
  for (const Node& node : nodes_) {
    const std::string attributes = node.op.attributes();
    text += fmt::format("  {} = {}({}){}{}:", names(node.dst), node.op.name(), names(node.src),
                        attributes.empty() ? "" : " ", attributes);
    for (const ValueId id : node.dst) text += " " + value(id).desc.shape.str();
    text += '\n';
  }
  for (const State& state : states) {
    text += fmt::format("  state {}: {}", value(state.begin).name, value(state.begin).desc.shape.str());
    text += state.begin == state.end ? "\n" : fmt::format(", then {}\n", value(state.end).name);
  }
  text += fmt::format("  output {}\n", names(outputs));
  return text;
}

}  // namespace maru
