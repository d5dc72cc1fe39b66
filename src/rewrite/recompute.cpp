#include "rewrite/recompute.h"

#include <algorithm>
#include <map>
#include <utility>
#include <vector>

namespace maru {
namespace {

using Bytes = std::int64_t;

std::size_t index(ValueId id) { return static_cast<std::size_t>(id); }
std::size_t index(NodeId id) { return static_cast<std::size_t>(id); }

// Of what nodes compute; an input, a constant or a state is there anyway.
std::vector<Bytes> bytes_of_values(const Graph& graph) {
  std::vector<Bytes> bytes;
  for (const Value& value : graph.values())
    bytes.push_back(value.producer ? static_cast<Bytes>(value.desc.bytes()) : 0);
  for (const State& state : graph.states) bytes[index(state.end)] = 0;
  return bytes;
}

// The most bytes of results that live at once, from the node that computes them to the last that reads.
Bytes peak_of(const Graph& graph) {
  std::vector<std::size_t> last(graph.values().size());
  for (std::size_t n = 0; n < graph.nodes().size(); ++n) {
    for (const ValueId id : graph.nodes()[n].src) last[index(id)] = n;
    for (const ValueId id : graph.nodes()[n].dst) last[index(id)] = n;
  }
  for (const ValueId id : graph.outputs) last[index(id)] = graph.nodes().size() - 1;
  const std::vector<Bytes> bytes = bytes_of_values(graph);
  std::vector<Bytes> ending(graph.nodes().size());
  Bytes now = 0, most = 0;
  for (std::size_t n = 0; n < graph.nodes().size(); ++n) {
    for (const ValueId id : graph.nodes()[n].dst) {
      now += bytes[index(id)];
      ending[last[index(id)]] += bytes[index(id)];
    }
    most = std::max(most, now);
    now -= ending[n];
  }
  return most;
}

// A network, in a graph that also goes back through it, and where it can be cut.
class Network {
 public:
  Network(const Graph& graph, std::size_t nodes)
      : graph_(graph), nodes_(nodes), bytes_(bytes_of_values(graph)), crossing_(nodes) {
    std::vector<std::size_t> last(graph.values().size());
    for (std::size_t n = 0; n < nodes; ++n) {
      for (const ValueId id : node(n).src) last[index(id)] = n;
    }
    for (std::size_t n = 0; n < nodes; ++n) {
      for (const ValueId id : node(n).dst) {
        for (std::size_t at = n; at < last[index(id)]; ++at) crossing_[at] += bytes_[index(id)];
      }
    }
  }

  // The last node of each segment but the last: where least crosses, among the places that make a
  // segment between half and one and a half times as large as its share.
  std::vector<std::size_t> ends_of(int segments) const {
    Bytes all = 0;
    for (std::size_t n = 0; n < nodes_; ++n) all += computed_by(n);
    const Bytes share = all / segments;
    std::vector<std::size_t> ends;
    std::size_t best = nodes_;  // none
    Bytes size = 0;
    for (std::size_t n = 0; n + 1 < nodes_; ++n) {
      size += computed_by(n);
      if (2 * size < share) continue;
      if (best == nodes_ || crossing_[n] < crossing_[best]) best = n;
      if (2 * size < 3 * share) continue;
      ends.push_back(best);
      n = std::exchange(best, nodes_);
      size = 0;
    }
    return ends;
  }

  // Computed again, in the place of what the way back reads of the segments: all that nobody in another
  // segment reads. Going back begins in the last segment, so that stays.
  Graph computed_again(const std::vector<std::size_t>& ends) const {
    Graph graph = graph_;
    const std::vector<bool> is_forgotten = forgotten(ends);
    std::map<ValueId, ValueId> again;
    const auto renewed = [&](const auto& self, std::vector<ValueId> src) -> std::vector<ValueId> {
      for (ValueId& id : src) {
        if (!is_forgotten[index(id)]) continue;
        if (!again.contains(id)) {
          const Node first = graph_.node(*graph_.value(id).producer);
          std::vector<std::string> names;
          for (const ValueId dst : first.dst) names.push_back(graph_.value(dst).name + "/again");
          const NodeId second =
              graph.add_node(first.name + "/again", first.op, self(self, first.src), std::move(names));
          for (std::size_t i = 0; i < first.dst.size(); ++i)
            again[first.dst[i]] = graph.node(second).dst[i];
        }
        id = again.at(id);
      }
      return src;
    };
    for (std::size_t n = nodes_; n < graph_.nodes().size(); ++n) {
      std::vector<ValueId> src = renewed(renewed, node(n).src);
      graph.node(NodeId(static_cast<std::uint32_t>(n))).src = std::move(src);
    }
    graph.tidy();
    return graph;
  }

 private:
  const Node& node(std::size_t n) const { return graph_.nodes()[n]; }

  Bytes computed_by(std::size_t n) const {
    Bytes sum = 0;
    for (const ValueId id : node(n).dst) sum += bytes_[index(id)];
    return sum;
  }

  std::vector<bool> forgotten(const std::vector<std::size_t>& ends) const {
    const auto segment_of = [&](std::size_t n) {
      return std::ranges::lower_bound(ends, n) - ends.begin();
    };
    std::vector<bool> is_forgotten(graph_.values().size() + 1);
    const std::size_t first_kept = ends.empty() ? 0 : ends.back() + 1;
    for (std::size_t n = 0; n < first_kept; ++n) {
      for (const ValueId id : node(n).dst) is_forgotten[index(id)] = !graph_.is_output(id);
    }
    for (std::size_t n = 0; n < nodes_; ++n) {
      for (const ValueId id : node(n).src) {
        const auto producer = graph_.value(id).producer;
        if (producer && segment_of(index(*producer)) != segment_of(n)) is_forgotten[index(id)] = false;
      }
    }
    return is_forgotten;
  }

  const Graph& graph_;
  const std::size_t nodes_;
  const std::vector<Bytes> bytes_;
  std::vector<Bytes> crossing_;  // after each node: bytes that are computed, and read later
};

}  // namespace

std::size_t recompute(Graph& graph, std::size_t network) {
  constexpr int kMostSegments = 40;
  const Network cut(graph, network);
  Graph best = cut.computed_again({});
  const std::size_t nodes = best.nodes().size();
  Bytes least = peak_of(best);
  for (int segments = 2; segments <= kMostSegments; ++segments) {
    Graph candidate = cut.computed_again(cut.ends_of(segments));
    const Bytes peak = peak_of(candidate);
    if (peak >= least) continue;
    least = peak;
    best = std::move(candidate);
  }
  graph = std::move(best);
  return graph.nodes().size() - nodes;
}

}  // namespace maru
