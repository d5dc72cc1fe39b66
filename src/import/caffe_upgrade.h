// Brings a network definition in any of Caffe's older forms into the present one (V2), tree to tree, as
// Caffe's own upgrade_net_proto_text does:
//   V0  layers { layer { name type:"conv" kernelsize } bottom top }, padding layers merged
//   V1  layers { name type: CONVOLUTION blobs_lr weight_decay param: "shared name" }
//   V2  layer { name type: "Convolution" param { } }
// and `input` with `input_dim` or `input_shape` into an Input layer at the front. Fields that no form
// knows stay where they are, so that the importer can name them.
#pragma once

#include <string_view>

#include "import/prototxt.h"

namespace maru {

// Throws Error with "file:line" for what cannot be upgraded.
Message upgrade_caffe_net(Message net, std::string_view file);

// V2's name of a V1 type given as its number ("Convolution" for 4) or of a V0 type ("conv"); empty when
// unknown.
std::string_view caffe_type_of_v1(int number);
std::string_view caffe_type_of_v0(std::string_view type);

}  // namespace maru
