#include <algorithm>
#include <cstring>
#include <map>
#include <utility>

#include "base/error.h"
#include "ops/concat.h"
#include "ops/conv.h"
#include "ops/slice.h"
#include "rewrite/edit.h"
#include "rewrite/rewrite.h"

namespace maru {
namespace {

using Members = std::vector<NodeId>;

bool is_mergeable(const Graph& graph, const Node& node) {
  const auto* conv = node.op.as<Conv>();
  if (!conv || node.src.empty() || conv->group != 1) return false;
  if (conv->window.kernel != std::array<std::int64_t, 2>{1, 1}) return false;
  if (conv->window.pad != std::array<std::int64_t, 2>{0, 0}) return false;
  return std::all_of(node.src.begin() + 1, node.src.end(), [&](ValueId id) {
    return graph.value(id).constant && graph.value(id).desc.dtype == DType::f32;
  });
}

// All that mergeable convolutions must have in common.
std::string likeness(const Node& node) {
  Conv conv = *node.op.as<Conv>();
  conv.outputs = 0;
  conv.window.dilation = {1, 1};  // of a single tap
  return Op(conv).key();
}

enum class Place { first, last, other };

// Where the member's result stands in the one concatenation of channels that reads it, if it does.
Place place_in_concat(const Graph& graph, NodeId member) {
  const ValueId result = graph.node(member).dst[0];
  const auto readers = graph.readers(result);
  if (graph.is_output(result) || readers.size() != 1) return Place::other;
  const Node& reader = graph.node(readers[0]);
  const auto* concat = reader.op.as<Concat>();
  if (!concat || graph.value(result).desc.shape.axis(concat->axis) != 1) return Place::other;
  if (std::ranges::count(reader.src, result) != 1) return Place::other;
  if (reader.src.front() == result) return Place::first;
  return reader.src.back() == result ? Place::last : Place::other;
}

std::int64_t channels(const Graph& graph, NodeId member) {
  return graph.node(member).op.as<Conv>()->outputs;
}

// The order of channels in the merged result; see rewrite.h.
Members channel_order(const Graph& graph, Members members, std::int64_t alignment) {
  const auto placed = [&](Place place) {
    return std::ranges::find(members, place, [&](NodeId id) { return place_in_concat(graph, id); });
  };
  std::optional<NodeId> front, back;
  if (const auto found = placed(Place::first); found != members.end()) {
    back = *found;
    members.erase(found);
  } else if (const auto last = placed(Place::last); last != members.end()) {
    front = *last;
    members.erase(last);
  }
  // Whole blocks first: those behind them then begin at a block without channels in between.
  std::stable_partition(members.begin(), members.end(),
                        [&](NodeId id) { return channels(graph, id) % alignment == 0; });
  if (front) members.insert(members.begin(), *front);
  if (back) members.push_back(*back);
  return members;
}

// "inception_3a/1x1+3x3_reduce+5x5_reduce": the common folder once.
std::string joined_name(const Graph& graph, const Members& members) {
  std::string joined = graph.node(members[0]).name;
  std::size_t folder = joined.rfind('/') + 1;  // 0 where there is none
  for (const NodeId id : members) {
    while (!graph.node(id).name.starts_with(joined.substr(0, folder))) {
      folder = folder < 2 ? 0 : joined.rfind('/', folder - 2) + 1;
    }
  }
  for (std::size_t i = 1; i < members.size(); ++i) {
    joined += "+" + graph.node(members[i]).name.substr(folder);
  }
  return joined;
}

// The bytes of a constant in a mapped file may stand at any address.
void append(std::vector<float>& values, const Constant& constant) {
  const std::size_t end = values.size();
  values.resize(end + constant.bytes().size() / sizeof(float));
  std::memcpy(values.data() + end, constant.bytes().data(), constant.bytes().size());
}

// Into the place of a dead node, so that the graph keeps the order of the file.
void move_node(Graph& graph, NodeId from, NodeId to) {
  std::swap(graph.node(to), graph.node(from));
  for (const ValueId id : graph.node(to).dst) graph.value(id).producer = to;
}

void merge(Graph& graph, RewriteLog& log, const Members& members, std::int64_t alignment) {
  const Members order = channel_order(graph, members, alignment);
  const std::string name = joined_name(graph, members);
  Conv conv = *graph.node(members[0]).op.as<Conv>();
  const ValueId src = graph.node(members[0]).src[0];
  const auto taps = static_cast<std::size_t>(graph.value(src).desc.shape[1]);

  std::vector<float> weight, bias;
  Slice slice;
  std::vector<std::string> part_names;
  std::vector<std::optional<ValueId>> parts;  // nothing: channels that only fill up to the alignment
  std::int64_t end = 0;
  const auto add_part = [&](std::int64_t count, std::string part_name, std::optional<ValueId> part) {
    if (end > 0) slice.points.push_back(end);
    end += count;
    part_names.push_back(std::move(part_name));
    parts.push_back(part);
  };
  std::size_t most = 0;
  for (const NodeId id : order) most += static_cast<std::size_t>(channels(graph, id) + alignment);
  weight.reserve(most * taps);
  for (const NodeId id : order) {
    const Node& member = graph.node(id);
    if (const std::int64_t over = end % alignment; over != 0) {
      add_part(alignment - over, fmt::format("{}/unused{}", name, parts.size()), std::nullopt);
      weight.resize(static_cast<std::size_t>(end) * taps);
      if (conv.bias) bias.resize(static_cast<std::size_t>(end));
    }
    add_part(channels(graph, id), graph.value(member.dst[0]).name, member.dst[0]);
    append(weight, *graph.value(member.src[1]).constant);
    if (conv.bias) append(bias, *graph.value(member.src[2]).constant);
  }
  conv.outputs = end;
  conv.window.dilation = {1, 1};
  slice.outputs = static_cast<std::int64_t>(parts.size());

  const auto& kernel = conv.window.kernel;
  const Shape weight_shape{end, static_cast<std::int64_t>(taps), kernel[0], kernel[1]};
  std::vector<ValueId> operands{src};
  operands.push_back(graph.add_constant(
      name + "/weight", std::make_shared<const Constant>(weight_shape, std::move(weight))));
  if (conv.bias) {
    operands.push_back(graph.add_constant(
        name + "/bias", std::make_shared<const Constant>(Shape{end}, std::move(bias))));
  }
  const NodeId merged = graph.add_node(name, conv, operands, {name});
  const NodeId cut = graph.add_node(name + "/slice", slice, graph.node(merged).dst, part_names);
  // The slice writes the values of the members, which thereby keep their names and readers.
  for (std::size_t i = 0; i < parts.size(); ++i) {
    if (parts[i]) graph.node(cut).dst[i] = *parts[i];
  }
  for (const NodeId id : members) {
    graph.node(id).src.clear();
    graph.node(id).dst.clear();
  }
  move_node(graph, merged, members[0]);
  move_node(graph, cut, members[1]);
  log.add("merged {} convolutions into {}", members.size(), name);
}

}  // namespace

bool merge_siblings(Graph& graph, RewriteLog& log, std::size_t least, std::int64_t alignment) {
  MARU_ASSERT(alignment > 0);
  if (least == 0) return false;
  std::map<std::pair<ValueId, std::string>, std::size_t> index;
  std::vector<Members> families;
  for (const Node& node : graph.nodes()) {
    if (!is_mergeable(graph, node)) continue;
    const auto [found, is_new] = index.try_emplace({node.src[0], likeness(node)}, families.size());
    if (is_new) families.emplace_back();
    families[found->second].push_back(graph.id_of(node));
  }
  bool changed = false;
  for (const Members& members : families) {
    if (members.size() < std::max<std::size_t>(least, 2)) continue;
    merge(graph, log, members, alignment);
    changed = true;
  }
  if (changed) graph.tidy();
  return changed;
}

}  // namespace maru
