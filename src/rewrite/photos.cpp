#include "rewrite/photos.h"

#include <algorithm>
#include <vector>

#include "base/error.h"
#include "ops/eltwise.h"
#include "ops/preprocess.h"
#include "ops/slice.h"

namespace maru {
namespace {

// The planes of the colours, weighed and added up.
ValueId add_grey(Graph& graph, ValueId colours, Preprocessing::Channels order,
                 const std::string& name) {
  const std::vector<std::string> planes{name + ".0", name + ".1", name + ".2"};
  const NodeId slice = graph.add_node("preprocess planes", Slice{1, {}, 3}, {colours}, planes);
  std::vector<double> of_each{0.299, 0.587, 0.114};
  if (order == Preprocessing::Channels::bgr) std::ranges::reverse(of_each);
  const NodeId sum = graph.add_node("preprocess grey", Eltwise{Eltwise::Kind::sum, std::move(of_each)},
                                    graph.node(slice).dst, {name});
  return graph.node(sum).dst[0];
}

}  // namespace

PhotoInputs take_photos(Graph& graph, ValueId input, std::int64_t room, const Preprocessing& how) {
  const std::string name = graph.value(input).name;
  const Shape shape = graph.value(input).desc.shape;
  MARU_ASSERT(shape.rank() == 4 && (shape[1] == 3 || shape[1] == 1));
  PhotoInputs made{name + ".pixels", name + ".frames"};
  std::erase(graph.inputs, input);
  const ValueId pixels = graph.add_input(made.pixels, {DType::u8, {shape[0], room}, Layout::plain()});
  const ValueId frames = graph.add_input(made.frames, {DType::i32, {shape[0], 4}, Layout::plain()});
  const bool is_grey = shape[1] == 1;
  const NodeId node = graph.add_node(std::string(kPhotoNodes), Preprocess{shape[2], shape[3], how},
                                     {pixels, frames}, {is_grey ? name + ".colours" : name});
  const ValueId colours = graph.node(node).dst[0];
  graph.replace_uses(input, is_grey ? add_grey(graph, colours, how.channels, name) : colours);
  graph.tidy();
  return made;
}

}  // namespace maru
