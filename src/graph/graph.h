// Graph: nodes that compute values from values, in topological order, each named as the model file
// names it. Owns nodes and values by dense ids; copying it copies no weights. Not thread-safe while
// changed.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "graph/constant.h"
#include "graph/op.h"

namespace maru {

enum class ValueId : std::uint32_t {};
enum class NodeId : std::uint32_t {};

struct Value {
  std::string name;  // several values may share one: an in-place layer makes a new version of its input
  TensorDesc desc;
  std::optional<NodeId> producer;            // none: an input or a constant
  std::shared_ptr<const Constant> constant;  // null: not a constant
};

struct Node {
  std::string name;
  Op op;
  std::vector<ValueId> src, dst;
};

// Memory that outlives a run: parameters that are trained, and what a solver remembers. Before a run
// it holds `begin`, which nothing in the graph computes, after it `end`: the same where the graph only
// reads it.
struct State {
  ValueId begin, end;
};

class Graph {
 public:
  std::string name;
  std::vector<ValueId> inputs;   // what a caller writes
  std::vector<ValueId> outputs;  // what a caller reads; kept by every rewrite
  std::vector<State> states;     // kept as outputs are

  ValueId add_input(std::string value_name, TensorDesc desc);
  // Its end is its begin until states.back().end is another.
  ValueId add_state(std::string value_name, TensorDesc desc);
  ValueId add_constant(std::string value_name, std::shared_ptr<const Constant> constant);
  // Infers the shapes of the node's values, one per name. An Error of the shape rule comes out with the
  // operator and the node: "[conv conv1/7x7_s2] ...".
  NodeId add_node(std::string node_name, Op op, std::vector<ValueId> src,
                  std::vector<std::string> dst_names);

  std::span<const Value> values() const noexcept { return values_; }
  std::span<const Node> nodes() const noexcept { return nodes_; }
  Value& value(ValueId id) { return values_[static_cast<std::size_t>(id)]; }
  const Value& value(ValueId id) const { return values_[static_cast<std::size_t>(id)]; }
  Node& node(NodeId id) { return nodes_[static_cast<std::size_t>(id)]; }
  const Node& node(NodeId id) const { return nodes_[static_cast<std::size_t>(id)]; }
  NodeId id_of(const Node& node) const {
    return NodeId(static_cast<std::uint32_t>(&node - nodes_.data()));
  }

  // The latest value of that name which is no constant; nothing when there is none.
  std::optional<ValueId> find(std::string_view value_name) const;
  // find(), or an Error that lists the names that come closest.
  ValueId require(std::string_view value_name) const;
  std::vector<NodeId> readers(ValueId id) const;
  // Somebody outside of the graph reads it: an output, or what a state holds after a run.
  bool is_output(ValueId id) const;
  std::vector<TensorDesc> descs(std::span<const ValueId> ids) const;

  // For rewrites: every reader of `from`, and the outputs, read `to` instead.
  void replace_uses(ValueId from, ValueId to);
  // Drops nodes without a reader, values without a use, and orders the nodes again. Ids change.
  // Throws Error naming a cycle.
  void tidy();

  // Checks that ids are in range, every value has one producer that comes before its readers, and
  // shapes are what the operators infer. Throws std::logic_error: a broken graph is a bug in maru.
  void verify() const;
  // One line a node: "conv1/7x7_s2 = conv(data, ...) kernel=7x7 ...: 1x64x112x112".
  std::string print() const;

 private:
  std::vector<Value> values_;
  std::vector<Node> nodes_;
};

}  // namespace maru
