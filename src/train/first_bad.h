// FirstBad: where numbers that are not finite began in a pass: what is said of a loss that is NaN.
// Plain values and functions; any thread may call them.
#pragma once

#include <string>
#include <vector>

#include "graph/graph.h"

namespace maru {

struct FirstBad {
  enum class Kind : std::uint8_t { parameter, input, result };

  Kind kind = Kind::result;
  std::string name;  // of the parameter, of the input, or of the node
  std::string op{};  // of a result: the node's operator

  // "parameter conv1/weight", "input data", "result of conv2 (conv)", for messages.
  std::string str() const;

  bool operator==(const FirstBad&) const = default;
};

// A graph with an output for each result of the graph that is f32 or f16, in order: the sum of its
// elements, which is finite where they are (unless they are so large that their sum is not, which a
// pass does not survive either). States are read only. `watched` says what each output stands for.
Graph sums_of_results(const Graph& graph, std::vector<FirstBad>& watched);

}  // namespace maru
