#include "train/first_bad.h"

#include <fmt/format.h>

#include "ops/cast.h"
#include "ops/reduce.h"

namespace maru {

std::string FirstBad::str() const {
  switch (kind) {
    case Kind::parameter:
      return "parameter " + name;
    case Kind::input:
      return "input " + name;
    case Kind::result:
      return fmt::format("result of {} ({})", name, op);
  }
  return name;
}

Graph sums_of_results(const Graph& graph, std::vector<FirstBad>& watched) {
  Graph sums = graph;
  sums.name += ", watched";
  sums.outputs.clear();
  for (State& state : sums.states) state.end = state.begin;
  for (const Node& node : graph.nodes()) {
    for (ValueId result : node.dst) {
      const DType dtype = graph.value(result).desc.dtype;
      if (dtype != DType::f32 && dtype != DType::f16) continue;
      const std::string name = fmt::format("sum {}", watched.size());
      if (dtype == DType::f16) {
        const NodeId cast = sums.add_node(name + ".f32", Cast{DType::f32}, {result}, {name + ".f32"});
        result = sums.node(cast).dst[0];
      }
      const NodeId sum = sums.add_node(name, Reduce{0, 0}, {result}, {name});
      sums.outputs.push_back(sums.node(sum).dst[0]);
      watched.push_back({FirstBad::Kind::result, node.name, std::string(node.op.name())});
    }
  }
  sums.tidy();  // each sum behind what it is of, so that hardly more is in memory than in a pass
  return sums;
}

}  // namespace maru
