// GradientBuckets: has gradients become their means over all ranks, some at a time, in the order in
// which they are added. Belongs to whoever builds the graph, and is used up by that.
#pragma once

#include <functional>
#include <optional>
#include <vector>

#include "graph/graph.h"

namespace maru {

class GradientBuckets {
 public:
  // Large enough that a message's own cost is small, small enough that the first go while most
  // gradients are still to be computed.
  static constexpr std::int64_t kBytes = std::int64_t{4} << 20;

  // A bucket goes when it has so many bytes.
  GradientBuckets(Graph& graph, int ranks, std::int64_t bytes)
      : graph_(graph), ranks_(ranks), most_(bytes) {}

  // `use` is given the value that is the mean, when its bucket goes: the gradient itself for one rank.
  void add(ValueId gradient, std::function<void(ValueId mean)> use);
  // What is left goes.
  void close();

 private:
  struct Waiting {
    ValueId gradient;
    std::function<void(ValueId)> use;
  };

  Graph& graph_;
  const int ranks_;
  const std::int64_t most_;
  std::vector<Waiting> waiting_;
  std::int64_t bytes_ = 0, buckets_ = 0;
  // One element that every node takes and gives on, so that all ranks run them in one order.
  std::optional<ValueId> token_;
};

}  // namespace maru
