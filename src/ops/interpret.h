// Runs a graph with the reference kernels: what every other way of running it is compared with. Slow,
// and allocates as it likes. Reads the graph only; any number of threads may.
#pragma once

#include <span>
#include <vector>

#include "graph/graph.h"

namespace maru {

// Elements of every value, plain layout, indexed by ValueId. T is float or double; constants are
// converted.
template <class T>
using Values = std::vector<std::vector<T>>;

// `inputs` as graph.inputs lists them, and behind them what its states hold before. Throws Error when
// their number or sizes differ from the graph's.
template <class T>
Values<T> interpret(const Graph& graph, std::span<const std::vector<T>> inputs);

extern template Values<float> interpret(const Graph&, std::span<const std::vector<float>>);
extern template Values<double> interpret(const Graph&, std::span<const std::vector<double>>);

}  // namespace maru
