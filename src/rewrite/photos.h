// Photos in front of a network: its input is made of their pixels, by a node that resizes and
// normalises.
#pragma once

#include <maru/types.h>

#include <string>
#include <string_view>

#include "graph/graph.h"

namespace maru {

// Inputs of the graph, as Preprocess reads them.
struct PhotoInputs {
  std::string pixels, frames;
};

// `input`, N x 3 x height x width, or N x 1 x height x width for photos in grey, becomes the result of
// a Preprocess node, and is no input any more. `room`: bytes of `pixels` for each photo. Grey is 0.299
// R + 0.587 G + 0.114 B (ITU-R BT.601), of levels that are not rounded in between. Names of all nodes
// that are added begin with kPhotoNodes. The graph is tidy then.
inline constexpr std::string_view kPhotoNodes = "preprocess";
PhotoInputs take_photos(Graph& graph, ValueId input, std::int64_t room, const Preprocessing& how);

}  // namespace maru
